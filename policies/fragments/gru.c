/* The gated recurrent unit: h' = (1 - u) new + u h, new = tanh(nx + r nh), r, u = sigmoid(x part + h part).
 * Heads of the features: r, u, n; then of the state: r, u, n. Elapsed time acts through the observation alone. */

enum { NET_HEADS = 3, NET_VECTORS = 0, NET_CELL_TAPE = 4 * NET_UNITS };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    const V *of_state = heads + NET_HEADS * NET_UNITS;
    (void)vectors, (void)dt;
    for (int n = from; n < to; ++n) {
        V reset = v_sigmoid(heads[n] + of_state[n]);
        V update = v_sigmoid(heads[NET_UNITS + n] + of_state[NET_UNITS + n]);
        V recalled = of_state[2 * NET_UNITS + n], candidate = v_tanh(heads[2 * NET_UNITS + n] + reset * recalled);
        h_next[n] = (1 - update) * candidate + update * h[n];
        tape[n] = reset, tape[NET_UNITS + n] = update;
        tape[2 * NET_UNITS + n] = candidate, tape[3 * NET_UNITS + n] = recalled;
    }
}

/* bar_heads: stored. bar_h: stored, for the path that does not go through the heads. */
static void cell_vjp(
    int from, int to, const LP_REAL *vectors, const V *tape, const V *h, V dt, const V *bar, V *bar_heads, V *bar_h,
    V *bar_vectors
) {
    V *of_state = bar_heads + NET_HEADS * NET_UNITS;
    (void)vectors, (void)dt, (void)bar_vectors;
    for (int n = from; n < to; ++n) {
        V reset = tape[n], update = tape[NET_UNITS + n], candidate = tape[2 * NET_UNITS + n];
        V slope = bar[n] * (1 - update) * (1 - candidate * candidate);
        bar_heads[n] = of_state[n] = slope * tape[3 * NET_UNITS + n] * reset * (1 - reset);
        bar_heads[NET_UNITS + n] = of_state[NET_UNITS + n] = bar[n] * (h[n] - candidate) * update * (1 - update);
        bar_heads[2 * NET_UNITS + n] = slope;
        of_state[2 * NET_UNITS + n] = slope * reset;
        bar_h[n] = bar[n] * update;
    }
}

/* bar -> bar_dt: elapsed time is not looked at. */
static inline V cell_bar_dt(const LP_REAL *vectors, const V *heads, const V *tape, const V *h, V dt, const V *bar) {
    (void)vectors, (void)heads, (void)tape, (void)h, (void)dt, (void)bar;
    return v_set(0);
}
