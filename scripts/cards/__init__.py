"""Model cards: what a policy is, how it was made, what it scores and where that ends."""
