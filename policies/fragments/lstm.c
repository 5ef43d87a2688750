/* Long short-term memory on [h; c]: c' = keep c + write new, h' = show tanh(c'), new = tanh(x part + h part), write, keep,
 * show = sigmoid(x part + h part). Heads of the features: write, keep, new, show; then of h: the same.
 * Elapsed time acts through the observation alone. */

enum { NET_HEADS = 4, NET_VECTORS = 0, NET_CELL_TAPE = 5 * NET_UNITS };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    const V *of_state = heads + NET_HEADS * NET_UNITS;
    (void)vectors, (void)dt;
    for (int n = from; n < to; ++n) {
        V write = v_sigmoid(heads[n] + of_state[n]);
        V keep = v_sigmoid(heads[NET_UNITS + n] + of_state[NET_UNITS + n]);
        V new = v_tanh(heads[2 * NET_UNITS + n] + of_state[2 * NET_UNITS + n]);
        V show = v_sigmoid(heads[3 * NET_UNITS + n] + of_state[3 * NET_UNITS + n]);
        V c = keep * h[NET_UNITS + n] + write * new, shown = v_tanh(c);
        h_next[n] = show * shown, h_next[NET_UNITS + n] = c;
        tape[n] = write, tape[NET_UNITS + n] = keep, tape[2 * NET_UNITS + n] = new;
        tape[3 * NET_UNITS + n] = show, tape[4 * NET_UNITS + n] = shown;
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
        V write = tape[n], keep = tape[NET_UNITS + n], new = tape[2 * NET_UNITS + n];
        V show = tape[3 * NET_UNITS + n], shown = tape[4 * NET_UNITS + n];
        V bar_c = bar[NET_UNITS + n] + bar[n] * show * (1 - shown * shown);
        bar_heads[n] = of_state[n] = bar_c * new * write * (1 - write);
        bar_heads[NET_UNITS + n] = of_state[NET_UNITS + n] = bar_c * h[NET_UNITS + n] * keep * (1 - keep);
        bar_heads[2 * NET_UNITS + n] = of_state[2 * NET_UNITS + n] = bar_c * write * (1 - new * new);
        bar_heads[3 * NET_UNITS + n] = of_state[3 * NET_UNITS + n] = bar[n] * shown * show * (1 - show);
        bar_h[n] = v_set(0);
        bar_h[NET_UNITS + n] = bar_c * keep;
    }
}

/* bar -> bar_dt: elapsed time is not looked at. */
static inline V cell_bar_dt(const LP_REAL *vectors, const V *heads, const V *tape, const V *h, V dt, const V *bar) {
    (void)vectors, (void)heads, (void)tape, (void)h, (void)dt, (void)bar;
    return v_set(0);
}
