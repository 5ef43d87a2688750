/* Lane groups: one drone a lane. Types, masks between the double clocks and the real values, slow sensors. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES LP_LANES
#define FOR_LANES for (int l = 0; l < LANES; ++l)
#define EPS_S 1e-9

typedef LP_REAL real;
typedef __typeof__((V){0} > (V){0}) Mask; /* -1 = true, 0 = false */
typedef __typeof__(((Mask){0})[0]) lane_int;
typedef double Clock[LANES] __attribute__((aligned(64))); /* times stay double in every build */

static inline real *lanes_of(V *v) { return (real *)v; }
static inline lane_int *flags_of(Mask *m) { return (lane_int *)m; }
static inline V all_lanes(double x) { return (V){0} + (real)x; }
static inline V blend(Mask m, V a, V b) { return (V)(((Mask)a & m) | ((Mask)b & ~m)); }
static inline V where(Mask m, V a) { return (V)((Mask)a & m); }

static inline V load(const real *from) {
    V v;
    memcpy(&v, from, sizeof v);
    return v;
}
static inline void store(real *to, V v) { memcpy(to, &v, sizeof v); }

static inline int any_lane(Mask m) {
    lane_int some = 0;
    FOR_LANES some |= flags_of(&m)[l];
    return some != 0;
}

static inline V as_real(const double *t) {
    V v;
    FOR_LANES lanes_of(&v)[l] = (real)t[l];
    return v;
}

static inline V ones_where(Mask m) { return where(m, all_lanes(1.0)); }

/* Age of a sample for the network, cut to the age of a sensor that has not spoken. */
static inline V age_of(const double *now, const double *stamp) {
    V v;
    FOR_LANES {
        double age = now[l] - stamp[l];
        lanes_of(&v)[l] = (real)(age > LP_INITIAL_AGE_S ? LP_INITIAL_AGE_S : age);
    }
    return v;
}

/* A slow sensor: its clock, the sample under way and the sample held. */
typedef struct {
    Clock next, start, stamp, deliver, held_stamp;
    V pending[3], held[3];
    Mask fresh;
} Slow;

/* Hold the sample under way where it has arrived by t; true lanes of the result received it. */
static inline Mask deliver(Slow *s, const double *t, int width) {
    Mask due;
    FOR_LANES flags_of(&due)[l] = s->deliver[l] <= t[l] + EPS_S ? -1 : 0;
    if (!any_lane(due)) return due;
    FOR_LANES {
        int d = s->deliver[l] <= t[l] + EPS_S;
        s->held_stamp[l] = d ? s->stamp[l] : s->held_stamp[l];
        s->deliver[l] = d ? (double)INFINITY : s->deliver[l];
    }
    for (int j = 0; j < width; ++j) s->held[j] = blend(due, s->pending[j], s->held[j]);
    s->fresh |= due;
    return due;
}

static inline Mask closing(const Slow *s, const double *t) {
    Mask m;
    FOR_LANES flags_of(&m)[l] = t[l] >= s->next[l] - EPS_S ? -1 : 0;
    return m;
}

/* What decides whether a sample is heard: outage after release, faults, chance of loss. */
typedef struct {
    const double *latency_s, *outage_start_s, *outage_end_s;
    V hz, dropout;
    int sensor;
} Rules;

static inline Mask silenced(const double *faults, int count, int sensor, const double *since) {
    Mask m = {0};
    for (int f = 0; f < count; ++f)
        if ((int)faults[3 * f] == sensor)
            FOR_LANES flags_of(&m)[l] |= since[l] >= faults[3 * f + 1] && since[l] < faults[3 * f + 2] ? -1 : 0;
    return m;
}

static inline Mask lost(const Rules *r, const double *since, V chance) {
    Mask m = chance < r->dropout;
    FOR_LANES flags_of(&m)[l] |= since[l] >= r->outage_start_s[l] && since[l] < r->outage_end_s[l] ? -1 : 0;
    return m;
}

/* End the window of the closing lanes; where heard, send the sample on its way. Returns the sent lanes. */
static inline Mask close_window(
    Slow *s, Rules *r, Mask closes, Mask heard, const V *sample, int width, const double *t, V unit, double jitter
) {
    Mask sent = closes & heard;
    FOR_LANES {
        int c = flags_of(&closes)[l] != 0, q = flags_of(&sent)[l] != 0;
        double period = (1.0 + jitter * (2.0 * (double)lanes_of(&unit)[l] - 1.0)) / (double)lanes_of(&r->hz)[l];
        double following = s->next[l] + period;
        following = following <= t[l] ? t[l] + period : following;
        s->next[l] = c ? following : s->next[l];
        s->start[l] = c ? t[l] : s->start[l];
        s->stamp[l] = q ? t[l] : s->stamp[l];
        s->deliver[l] = q ? t[l] + r->latency_s[l] : s->deliver[l];
    }
    for (int j = 0; j < width; ++j) s->pending[j] = blend(sent, sample[j], s->pending[j]);
    return sent;
}
