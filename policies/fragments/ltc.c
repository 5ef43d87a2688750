/* Liquid time-constant neurons: one event in semi-implicit unfolds over the synapses that there are, and its derivative.
 *
 * The equations are those of policies/cells/ltc_solvers.py. Set before: NET_INPUTS, NET_UNITS, NET_UNFOLDS and short_sigmoid;
 * NET_SENSORY, the number of synapses from inputs, sensory_source, and sensory_first: those that end at neuron n begin at its
 * place n; NET_RECURRENT, recurrent_source and recurrent_first of the synapses between neurons.
 * x: inputs after their affine map; dt: in time units. Weights: gleak, vleak, cm of every neuron; then w, mu, sigma, erev of
 * every synapse from inputs, and of every one between neurons.
 * A tape keeps x and h alone: on the way back the unfolds are computed again, which takes less than to keep them. */

enum {
    NET_STATE = NET_UNITS,
    LTC_VLEAK = NET_UNITS,
    LTC_CM = 2 * NET_UNITS,
    LTC_SENSORY = 3 * NET_UNITS,
    LTC_RECURRENT = LTC_SENSORY + 4 * NET_SENSORY,
    NET_WEIGHTS = LTC_RECURRENT + 4 * NET_RECURRENT,
    NET_TAPE = NET_INPUTS + NET_UNITS,
    NET_BLOCK = 1 /* the delta of a step is large */
};

/* What arrives at every neuron: G and I. */
typedef struct {
    V conductance[NET_UNITS], current[NET_UNITS];
} Arriving;

/* An unfold: the state before it, the slope and 1 / (cm + delta G) of every neuron, the sigmoids of synapses. */
typedef struct {
    V v[NET_UNITS], slope[NET_UNITS], inverse[NET_UNITS], open[NET_RECURRENT];
} Unfold;

typedef struct {
    V gradient[NET_WEIGHTS], bar_dt, sensory_open[NET_SENSORY];
    Unfold unfolds[NET_UNFOLDS];
} Delta;

enum { NET_DELTA = sizeof(Delta) / sizeof(V) };

/* into += what synapses from v bring. open: their sigmoids, or 0 where they are not kept. */
LP_INLINE void arrive(const int *first, const int *source, const LP_REAL *synapses, const V *v, V *open, Arriving *into) {
    for (int n = 0; n < NET_UNITS; ++n) {
        V conductance = into->conductance[n], current = into->current[n];
        for (int k = first[n]; k < first[n + 1]; ++k) {
            const LP_REAL *w = synapses + 4 * k, *mu = w + 1, *sigma = w + 2, *erev = w + 3;
            V s = short_sigmoid(*sigma * (v[source[k]] - *mu)), g = *w * s;
            conductance += g;
            current += g * *erev;
            if (open) open[k] = s;
        }
        into->conductance[n] = conductance, into->current[n] = current;
    }
}

/* bar: of what arrives, G and I -> gradient += that of the synapses, bar_v += that of their sources (0: not asked for). */
LP_INLINE void arrive_back(
    const int *first, const int *source, const LP_REAL *synapses, const V *v, const V *open, const Arriving *bar,
    V *gradient, V *bar_v
) {
    for (int n = 0; n < NET_UNITS; ++n) {
        V bar_conductance = bar->conductance[n], bar_current = bar->current[n];
        for (int k = first[n]; k < first[n + 1]; ++k) {
            const LP_REAL *w = synapses + 4 * k, *mu = w + 1, *sigma = w + 2, *erev = w + 3;
            V s = open[k], by_s = s * (bar_conductance + *erev * bar_current), by_z = *w * (by_s - by_s * s);
            V by_v = *sigma * by_z, *by = gradient + 4 * k;
            by[0] += by_s;
            by[1] -= by_v;
            by[2] += by_z * (v[source[k]] - *mu);
            by[3] += *w * s * bar_current;
            if (bar_v) bar_v[source[k]] += by_v;
        }
    }
}

/* What leak and inputs bring, the same for every unfold of an event. */
static inline void drive(const LP_REAL *w, const V *x, V *open, Arriving *into) {
    for (int n = 0; n < NET_UNITS; ++n) {
        into->conductance[n] = v_set(w[n]);
        into->current[n] = v_set(w[n] * w[LTC_VLEAK + n]);
    }
    arrive(sensory_first, sensory_source, w + LTC_SENSORY, x, open, into);
}

/* v += delta slope: one unfold. kept: what its derivative needs, or 0. */
LP_INLINE void unfold(const LP_REAL *w, const Arriving *driven, V delta, V *v, Unfold *kept) {
    Arriving all = *driven;
    arrive(recurrent_first, recurrent_source, w + LTC_RECURRENT, v, kept ? kept->open : 0, &all);
    for (int n = 0; n < NET_UNITS; ++n) {
        V inverse = 1 / (w[LTC_CM + n] + delta * all.conductance[n]);
        V slope = (all.current[n] - all.conductance[n] * v[n]) * inverse;
        if (kept) kept->v[n] = v[n], kept->slope[n] = slope, kept->inverse[n] = inverse;
        v[n] += delta * slope;
    }
}

/* x (inputs), h (units), elapsed time -> h_next (units), tape. */
static void net_step(const LP_REAL *w, const V *x, const V *h, V dt, V *tape, V *h_next, V *action) {
    Arriving driven;
    (void)action;
    memcpy(tape, x, NET_INPUTS * sizeof(V));
    memcpy(tape + NET_INPUTS, h, NET_UNITS * sizeof(V));
    memcpy(h_next, h, NET_UNITS * sizeof(V));
    drive(w, x, 0, &driven);
    for (int u = 0; u < NET_UNFOLDS; ++u) unfold(w, &driven, dt / NET_UNFOLDS, h_next, 0);
}

/* bar of the state after an unfold -> of the state before it, in place. total += that of what arrives; bar_delta += . */
static inline void unfold_back(
    const LP_REAL *w, const Unfold *kept, V delta, V *bar, V *gradient, Arriving *total, V *bar_delta
) {
    Arriving arriving;
    for (int n = 0; n < NET_UNITS; ++n) {
        V scaled = bar[n] * kept->inverse[n], by_current = delta * scaled;
        V by_conductance = -by_current * (kept->v[n] + delta * kept->slope[n]);
        bar[n] = w[LTC_CM + n] * scaled;
        *bar_delta += bar[n] * kept->slope[n];
        gradient[LTC_CM + n] -= by_current * kept->slope[n];
        arriving.conductance[n] = by_conductance, arriving.current[n] = by_current;
        total->conductance[n] += by_conductance, total->current[n] += by_current;
    }
    arrive_back(
        recurrent_first, recurrent_source, w + LTC_RECURRENT, kept->v, kept->open, &arriving, gradient + LTC_RECURRENT, bar
    );
}

/* bar_h_next -> bar_x (0: not asked for), bar_h (stored) and the delta of this step. */
static void net_vjp(
    const LP_REAL *w, const V *tape, V dt, const V *bar_h_next, const V *bar_action, V *delta, V *bar_x, V *bar_h
) {
    Delta *d = (Delta *)delta;
    Arriving driven, total;
    V v[NET_UNITS], bar[NET_UNITS], each = dt / NET_UNFOLDS, bar_delta = v_set(0);
    (void)bar_action;
    memcpy(v, tape + NET_INPUTS, sizeof v);
    memcpy(bar, bar_h_next, sizeof bar);
    memset(d->gradient, 0, sizeof d->gradient);
    memset(&total, 0, sizeof total);
    drive(w, tape, d->sensory_open, &driven);
    for (int u = 0; u < NET_UNFOLDS; ++u) unfold(w, &driven, each, v, d->unfolds + u);
    for (int u = NET_UNFOLDS - 1; u >= 0; --u) unfold_back(w, d->unfolds + u, each, bar, d->gradient, &total, &bar_delta);
    for (int n = 0; n < NET_UNITS; ++n) {
        d->gradient[n] = total.conductance[n] + w[LTC_VLEAK + n] * total.current[n];
        d->gradient[LTC_VLEAK + n] = w[n] * total.current[n];
    }
    if (bar_x) memset(bar_x, 0, NET_INPUTS * sizeof(V));
    arrive_back(
        sensory_first, sensory_source, w + LTC_SENSORY, tape, d->sensory_open, &total, d->gradient + LTC_SENSORY, bar_x
    );
    memcpy(bar_h, bar, sizeof bar);
    d->bar_dt = bar_delta / NET_UNFOLDS;
}

/* bar_h_next -> bar_dt, of the delta that `net_vjp` made. */
static inline V net_bar_dt(const LP_REAL *w, const V *tape, const V *delta, const V *bar_h_next, V dt) {
    (void)w, (void)tape, (void)bar_h_next, (void)dt;
    return ((const Delta *)delta)->bar_dt;
}

/* gradient (weights) += that of `steps` steps, at most NET_BLOCK. */
static void net_gradient(int steps, const V *const *tapes, const V *delta, V *gradient) {
    (void)tapes;
    for (int t = 0; t < steps; ++t)
        for (int i = 0; i < NET_WEIGHTS; ++i) gradient[i] += delta[t * NET_DELTA + i];
}
