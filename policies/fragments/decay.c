/* The decay form: h' = h e + (1 - e) tanh(f), e = exp(-dt softplus(r)); heads f, r. dt in time units. */

enum { NET_HEADS = 2, NET_VECTORS = 0, NET_CELL_TAPE = 3 * NET_UNITS };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    (void)vectors;
    for (int n = from; n < to; ++n) {
        V target = v_tanh(heads[n]), rate = heads[NET_UNITS + n], e = v_exp(-v_abs(rate));
        V softplus = v_max(rate, v_set(0)) + v_log1p(e), keep = v_exp(-dt * softplus);
        h_next[n] = h[n] * keep + (1 - keep) * target;
        tape[n] = target, tape[NET_UNITS + n] = keep;
        tape[2 * NET_UNITS + n] = v_where((VI)(rate < v_set(0)), e, v_set(1)) / (1 + e); /* slope of softplus */
    }
}

/* bar_heads: stored. bar_h: stored, for the path that does not go through the heads. */
static void cell_vjp(
    int from, int to, const LP_REAL *vectors, const V *tape, const V *h, V dt, const V *bar, V *bar_heads, V *bar_h,
    V *bar_vectors
) {
    (void)vectors, (void)bar_vectors;
    for (int n = from; n < to; ++n) {
        V target = tape[n], keep = tape[NET_UNITS + n], slope = tape[2 * NET_UNITS + n];
        bar_heads[n] = bar[n] * (1 - keep) * (1 - target * target);
        bar_heads[NET_UNITS + n] = bar[n] * (target - h[n]) * keep * dt * slope;
        bar_h[n] = bar[n] * keep;
    }
}

/* bar -> bar_dt. */
static inline V cell_bar_dt(const LP_REAL *vectors, const V *heads, const V *tape, const V *h, V dt, const V *bar) {
    V sum = v_set(0);
    (void)vectors, (void)dt;
    for (int n = 0; n < NET_UNITS; ++n)
        sum += bar[n] * (tape[n] - h[n]) * tape[NET_UNITS + n] * v_softplus(heads[NET_UNITS + n]);
    return sum;
}
