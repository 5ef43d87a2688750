/* Lane groups: one drone a lane. Types, masks between the double clocks and the real values, slow sensors. */

#define LANES LP_LANES
#define FOR_LANES for (int l = 0; l < LANES; ++l)
#define EPS_S 1e-9

typedef LP_REAL real;
typedef double Clock[LANES] __attribute__((aligned(LANES < 8 ? LANES * 8 : 64))); /* times are double in every build */

static inline real *lanes_of(V *v) { return (real *)v; }
static inline LP_INT *flags_of(VI *m) { return (LP_INT *)m; }

/* a where the mask is set, else 0. */
static inline V only(VI m, V a) { return (V)((VI)a & m); }

static inline int any_lane(VI m) {
    LP_INT some = 0;
    FOR_LANES some |= flags_of(&m)[l];
    return some != 0;
}

static inline int first_lane(VI m) {
    int l = 0;
    while (l < LANES && !flags_of(&m)[l]) ++l;
    return l;
}

/* Lanes in which x is infinite or no number. */
static inline VI not_finite(V x) {
    V zero = x - x;
    return (VI)(zero != zero);
}

static inline V as_real(const double *t) {
    V v;
    FOR_LANES lanes_of(&v)[l] = (real)t[l];
    return v;
}

static inline V one_where(VI m) { return only(m, v_set(1)); }

/* Age of a sample for the network, cut to the age of a sensor that has not spoken. */
static inline V age_of(const double *now, const double *stamp) {
    V v;
    FOR_LANES {
        double age = now[l] - stamp[l];
        lanes_of(&v)[l] = (real)(age > LP_INITIAL_AGE_S ? LP_INITIAL_AGE_S : age < 0 ? 0 : age);
    }
    return v;
}

/* clock = value where the mask is set. */
static inline void choose_clock(double *clock, VI mask, const double *value) {
    Clock chosen;
    FOR_LANES chosen[l] = flags_of(&mask)[l] ? value[l] : clock[l];
    memcpy(clock, chosen, sizeof chosen);
}

/* A slow sensor: its clock, the sample under way and the sample held. */
typedef struct {
    Clock next, start, stamp, deliver, held_stamp;
    V pending[LP_PLACE], held[LP_PLACE]; /* of which flow takes three, range one */
    VI fresh;
} Slow;

/* Hold the sample under way where it has arrived by t and fits the onboard clock; true lanes of the result took it. */
static inline VI deliver(Slow *s, const double *t, int width, VI fits) {
    VI due;
    FOR_LANES flags_of(&due)[l] = s->deliver[l] <= t[l] + EPS_S ? -1 : 0;
    if (!any_lane(due)) return due;
    Clock never;
    FOR_LANES never[l] = (double)INFINITY;
    choose_clock(s->deliver, due, never);
    due &= fits;
    choose_clock(s->held_stamp, due, s->stamp);
    for (int j = 0; j < width; ++j) s->held[j] = v_where(due, s->pending[j], s->held[j]);
    s->fresh |= due;
    return due;
}

static inline VI closing(const Slow *s, const double *t) {
    VI m;
    FOR_LANES flags_of(&m)[l] = t[l] >= s->next[l] - EPS_S ? -1 : 0;
    return m;
}

/* What decides whether a sample is heard: outage after release, faults, chance of loss. */
typedef struct {
    Clock latency_s, outage_start_s, outage_end_s;
    V hz, dropout;
} Rules;

/* A row of the fault table: what it adds to a part, from start_s to end_s after release, in full after rise_s. */
typedef struct {
    double part, mode, start_s, end_s, rise_s, amount;
} Fault;

static inline V change(const Fault *f, const double *since) {
    V now;
    FOR_LANES {
        double ahead = since[l] - f->start_s, grown = ahead < f->rise_s ? ahead / f->rise_s : 1.0;
        lanes_of(&now)[l] = ahead >= 0 && since[l] < f->end_s ? (real)(f->amount * grown) : 0;
    }
    return now;
}

static V total_change(const Fault *faults, int64_t count, int part, int mode, const double *since) {
    V sum = {0};
    for (const Fault *f = faults; f < faults + count; ++f)
        if ((int)f->part == part && (int)f->mode == mode) sum += change(f, since);
    return sum;
}

static inline VI lost(const Rules *r, const double *since, V chance) {
    VI m = chance < r->dropout;
    FOR_LANES flags_of(&m)[l] |= since[l] >= r->outage_start_s[l] && since[l] < r->outage_end_s[l] ? -1 : 0;
    return m;
}

/* End the window of the closing lanes; where heard, send the sample on its way. Returns the sent lanes. */
static inline VI close_window(
    Slow *s, Rules *r, VI closes, VI heard, const V *sample, int width, const double *t, V unit, double jitter
) {
    VI sent = closes & heard;
    Clock following;
    FOR_LANES following[l] = (1.0 + jitter * (2.0 * (double)lanes_of(&unit)[l] - 1.0)) / (double)lanes_of(&r->hz)[l];
    FOR_LANES {
        double later = t[l] + following[l], next = s->next[l] + following[l];
        following[l] = next <= t[l] ? later : next;
    }
    choose_clock(s->next, closes, following);
    choose_clock(s->start, closes, t);
    choose_clock(s->stamp, sent, t);
    FOR_LANES following[l] = t[l] + r->latency_s[l];
    choose_clock(s->deliver, sent, following);
    for (int j = 0; j < width; ++j) s->pending[j] = v_where(sent, sample[j], s->pending[j]);
    return sent;
}
