/* No cell: the readout reads the last backbone layer. */

enum { NET_HEADS = 0, NET_VECTORS = 0, NET_CELL_TAPE = 0 };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    (void)from, (void)to, (void)vectors, (void)heads, (void)h, (void)dt, (void)tape, (void)h_next;
}

static void cell_vjp(
    int from, int to, const LP_REAL *vectors, const V *tape, const V *h, V dt, const V *bar, V *bar_heads, V *bar_h,
    V *bar_vectors
) {
    (void)from, (void)to, (void)vectors, (void)tape, (void)h, (void)dt, (void)bar, (void)bar_heads, (void)bar_h, (void)bar_vectors;
}
