/* The published solution form: h' = -a exp(-dt (|w_tau| + |u|)) u + a; head u, vectors w_tau, a. */

enum { NET_HEADS = 1, NET_VECTORS = 2, NET_CELL_TAPE = 2 * NET_UNITS };

static void cell_step(
    int from, int to, const LP_REAL *vectors, const V *heads, const V *h, V dt, V *tape, V *h_next
) {
    (void)h;
    for (int n = from; n < to; ++n) {
        V u = heads[n], kept = v_exp(-dt * (v_abs(v_set(vectors[n])) + v_abs(u)));
        V a = v_set(vectors[NET_UNITS + n]);
        h_next[n] = a - a * kept * u;
        tape[n] = u, tape[NET_UNITS + n] = kept;
    }
}

/* Slope of |x| is sign(x), and 0 at 0. */
static inline V slope_of_abs(V x) { return v_select(x, v_set(0), v_set(1), v_select(v_set(0), x, v_set(-1), v_set(0))); }

static void cell_vjp(
    int from, int to, const LP_REAL *vectors, const V *tape, const V *h, V dt, const V *bar, V *bar_heads, V *bar_h,
    V *bar_vectors
) {
    (void)h;
    for (int n = from; n < to; ++n) {
        V u = tape[n], kept = tape[NET_UNITS + n], a = v_set(vectors[NET_UNITS + n]), scaled = bar[n] * kept;
        bar_heads[n] = a * scaled * (dt * u * slope_of_abs(u) - 1);
        bar_vectors[n] = a * scaled * u * dt * slope_of_abs(v_set(vectors[n]));
        bar_vectors[NET_UNITS + n] = bar[n] - scaled * u;
        bar_h[n] = v_set(0);
    }
}

/* bar -> bar_dt. */
static inline V cell_bar_dt(const LP_REAL *vectors, const V *heads, const V *tape, const V *h, V dt, const V *bar) {
    V sum = v_set(0);
    (void)heads, (void)h, (void)dt;
    for (int n = 0; n < NET_UNITS; ++n) {
        V u = tape[n], kept = tape[NET_UNITS + n];
        sum += bar[n] * v_set(vectors[NET_UNITS + n]) * kept * u * (v_abs(v_set(vectors[n])) + v_abs(u));
    }
    return sum;
}
