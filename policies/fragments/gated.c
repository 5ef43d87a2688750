/* The published forms with a time gate s = sigmoid(a dt + b); heads f1, f2, a, b.
 * NET_INTERPOLATE 1 (default): h' = tanh(f1) (1 - s) + s tanh(f2); 0 (no_gate): h' = tanh(f1) + s tanh(f2). */

enum { NET_HEADS = 4, NET_VECTORS = 0, NET_CELL_TAPE = 3 * NET_UNITS };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    (void)vectors, (void)h;
    for (int n = from; n < to; ++n) {
        V first = v_tanh(heads[n]), second = v_tanh(heads[NET_UNITS + n]);
        V gate = v_sigmoid(heads[2 * NET_UNITS + n] * dt + heads[3 * NET_UNITS + n]);
        h_next[n] = (NET_INTERPOLATE ? first * (1 - gate) : first) + gate * second;
        tape[n] = first, tape[NET_UNITS + n] = second, tape[2 * NET_UNITS + n] = gate;
    }
}

/* bar_heads: stored. bar_h: stored; the state acts through the heads alone. */
static void cell_vjp(
    int from, int to, const LP_REAL *vectors, const V *tape, const V *h, V dt, const V *bar, V *bar_heads, V *bar_h,
    V *bar_vectors
) {
    (void)vectors, (void)h, (void)bar_vectors;
    for (int n = from; n < to; ++n) {
        V first = tape[n], second = tape[NET_UNITS + n], gate = tape[2 * NET_UNITS + n];
        V slope = bar[n] * (NET_INTERPOLATE ? second - first : second) * gate * (1 - gate);
        bar_heads[n] = bar[n] * (NET_INTERPOLATE ? 1 - gate : v_set(1)) * (1 - first * first);
        bar_heads[NET_UNITS + n] = bar[n] * gate * (1 - second * second);
        bar_heads[2 * NET_UNITS + n] = slope * dt;
        bar_heads[3 * NET_UNITS + n] = slope;
        bar_h[n] = v_set(0);
    }
}

/* bar -> bar_dt. */
static inline V cell_bar_dt(const LP_REAL *vectors, const V *heads, const V *tape, const V *h, V dt, const V *bar) {
    V sum = v_set(0);
    (void)vectors, (void)h, (void)dt;
    for (int n = 0; n < NET_UNITS; ++n) {
        V first = tape[n], second = tape[NET_UNITS + n], gate = tape[2 * NET_UNITS + n];
        sum += bar[n] * (NET_INTERPOLATE ? second - first : second) * gate * (1 - gate) * heads[2 * NET_UNITS + n];
    }
    return sum;
}
