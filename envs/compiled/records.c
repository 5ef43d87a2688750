/* What a rollout is given, what one lane group remembers, and what the way back needs of the way there. */

#ifndef ENC_OUT /* a network without an encoder */
#define ENC_OUT 0
#define ENC_WEIGHTS 0
#endif
#define ALL_WEIGHTS (NET_WEIGHTS + ENC_WEIGHTS)

typedef struct {
    int64_t steps, all_substeps, lanes, first_group, last_group, gradients, faults, scoring, every_event, grids;
    uint64_t seed;                 /* of the numbers that are drawn */
    const int32_t *substeps;       /* (steps,) */
    const double *dt_s;            /* (steps, lanes) */
    const real *normal, *uniform;  /* (steps, LP_NORMALS, lanes), (steps, LP_NOISE - LP_NORMALS, lanes), or NULL: drawn */
    const real *constants;         /* (LP_CONSTANTS, lanes) */
    const real *course;            /* (LP_COURSE, lanes) */
    const double *delays;          /* (LP_DELAYS, lanes) */
    const real *counted;           /* (lanes,) 1, or 0 for padding */
    real *values;                  /* (LP_STATE, lanes), in and out */
    double *clocks;                /* (LP_CLOCKS, lanes), in and out */
    real *h, *action;              /* (NET_STATE, lanes), (NET_OUTPUTS, lanes), in and out */
    const real *weights;           /* (ALL_WEIGHTS,) */
    const double *cost_weights;    /* (LP_COST_WEIGHTS,) */
    const double *settings;        /* LP_SETTINGS numbers, see below */
    const Fault *fault_table;      /* (faults,), see lanes.c */
    const int32_t *looks;          /* (steps,) of a drone that sees: bits LOOKS, ARRIVES */
    real *sight;                   /* (LP_SIGHT, lanes), in and out, of a drone that sees */
    const double *imu_events;      /* (steps + 1, IMU_ROWS, lanes), or NULL where the onboard memory takes every sample */
    double *totals;                /* (groups, 2): cost and weight */
    double *gradient;              /* (groups, ALL_WEIGHTS) */
    double *ledger;                /* (LP_LEDGER, lanes), in and out, where scoring */
    int64_t *trouble;              /* (groups, 2): step and lane of the first command that is not finite, or -1 */
    V *workspace;                  /* `lp_workspace` vectors, 64-byte aligned */
    uint32_t *branches;            /* (lanes,) out: signatures, see branches.h; NULL where they are not watched */
} Job;

enum { HOLD_S, SENSOR_JITTER, GYRO_WALK, EARLY_S, EARLY_WEIGHT, DURATION_S, TILT_AFTER_S, TILT_COSINE, MEASURE_AFTER_S, CROSSES_M, GRID_LOST };
enum { FLOW, RANGE, ACCEL, GYRO, THRUST /* of four rotors */, LOAD = THRUST + 4, WIND, CLOCK, PLACE }; /* parts of the fault table */
enum { OFF, FREEZE, SPIKE, CHANGE }; /* its modes */
enum { SILENT_S, AHEAD_S, SEEN_DT_S, RESTARTED, MOVED, IMU_ROWS }; /* of an IMU event, see envs.compiled.faults */
enum { FLOW_CLOSES = 1, RANGE_CLOSES = 2, PLACE_CLOSES = 4 };

typedef struct {
    V body[LP_BODY]; /* physical state at the start of the substep */
    V integral[2], window, gyro_sum[3], count, gyro[3]; /* of the flow window that closed at its end */
    VI flow_closes, flow_sent, flow_frozen, flow_due, range_new, range_due, place_new, place_due;
    int32_t effect[LANES]; /* number of the command in effect */
    int closes;
} Substep;

#if LP_SEES
typedef struct {
    V tape[ENC_TAPE]; /* of the encoder */
    VI heard;
} Glance;
#endif

typedef struct {
    V noise[LP_NOISE], seen[LP_SEEN], drift[LP_DRIFT], wind[3], acc[3], action[NET_OUTPUTS], share, dt, h_both[2];
    V since; /* seconds since the release at its end, 0 in the hand */
    V factor[LOAD - THRUST + 1]; /* of thrust and load, as faults leave them */
    VI moving, released, gyro_kept, accel_kept, flow_due, range_due, place_due;
    VI idle;                          /* the network was not stepped */
    VI refused, restarted, moved;     /* the IMU sample at the end, the gyro's sum of the flow window, all times */
    const V *previous;
    Substep *first;
    V net[NET_TAPE];
#if LP_SEES
    Glance *glance; /* the grid heard at its start, or NULL */
    V near[LP_ROW * LP_NEAR]; /* obstacles, at its end */
#endif
} Step;

typedef struct {
    V constants[LP_CONSTANTS], course[LP_COURSE + 1], cost_weights[LP_COST_WEIGHTS];
    V acc[3], drift[LP_DRIFT], gyro[3], accel[3], gyro_sum[3], count, integral[2], flow_reading[3];
    V disturbed[LP_CONSTANTS];
    V h[2][NET_STATE + 1], previous[NET_OUTPUTS];
    VI accel_fresh;
    Stream stream;
    Slow flow, range, place;
    Clock t, dt, release, accel_stamp;
    Clock heard;         /* stamp of the newest IMU sample that the onboard memory took, with faults of the IMU */
    Rules flow_rules, range_rules, place_rules;
    Clock command_latency_s;
    int32_t effect[LANES];
    V *body;             /* current physical state, inside the newest Substep */
    V (*commands)[4];    /* LP_HISTORY of before, then one a step */
    Clock *issued;
    V (*bar_commands)[4], *delta, *gradient;
    Step *steps;
    Substep *substeps;
    V in_effect[4];
    V cost, weight;
#if LP_SEES
    V near[LP_ROW * LP_NEAR], sight[LP_GRID + ENC_OUT + 3]; /* obstacles; rows as envs.compiled.sight has them */
    Stream sparks;       /* of the noise of grids */
    Glance *glances;
    V *sight_delta;
    const V *gathered_tapes[NET_BLOCK];
    int heard_grids, gathered;
#endif
} World;

/* The forest among the arguments of an equation, where there is one. */
#if LP_SEES
#define FOREST(near, still) near, still,
#define FOREST_NEAR w->near,
#else
#define FOREST(near, still)
#define FOREST_NEAR
#endif

/* Vectors that hold so many bytes, in whole cache lines. */
#define IN_V(bytes) (((int64_t)(bytes) + 63) / 64 * 64 / (int64_t)sizeof(V))

/* Cut scratch memory into its parts; World comes first. Returns how many V it takes; w may be NULL to ask. */
static int64_t lay_out(World *w, int64_t steps, int64_t substeps, int64_t gradients, int64_t grids) {
    int64_t size = IN_V(sizeof(World)), log = steps + LP_HISTORY;
    int64_t records = gradients ? steps : 1, inner = gradients ? substeps + 1 : 2;
    V *base = (V *)w;
    if (w) w->steps = (Step *)(base + size);
    size += IN_V(sizeof(Step) * records);
    if (w) w->substeps = (Substep *)(base + size);
    size += IN_V(sizeof(Substep) * inner);
    if (w) w->commands = (V(*)[4])(base + size);
    size += IN_V(sizeof(V[4]) * log);
    if (w) w->issued = (Clock *)(base + size);
    size += IN_V(sizeof(Clock) * log);
#if LP_SEES
    if (w) w->glances = (Glance *)(base + size);
    size += IN_V(sizeof(Glance) * (gradients ? grids : 1));
    if (w) w->sight_delta = base + size;
    size += IN_V(sizeof(V) * NET_BLOCK * ENC_DELTA);
#else
    (void)grids;
#endif
    if (!gradients) return size;
    if (w) w->bar_commands = (V(*)[4])(base + size);
    size += IN_V(sizeof(V[4]) * log);
    if (w) w->delta = base + size;
    size += IN_V(sizeof(V) * NET_BLOCK * NET_DELTA);
    if (w) w->gradient = base + size;
    return size + IN_V(sizeof(V) * ALL_WEIGHTS);
}

/* Vectors of scratch memory that one call needs. */
int64_t lp_workspace(int64_t steps, int64_t substeps, int64_t gradients, int64_t grids) {
    return lay_out(NULL, steps, substeps, gradients, grids);
}

/* Visits every remembered real and clock in the order of `envs.compiled.state`; writes them back where asked. */
static void exchange(const Job *job, World *w, V *body, int64_t lane, int write) {
    int row = 0;
    V accel_fresh = one_where(w->accel_fresh), flow_fresh = one_where(w->flow.fresh);
    V range_fresh = one_where(w->range.fresh), place_fresh = one_where(w->place.fresh);
    struct { V *at; int count; } parts[] = {
        {body, LP_BODY}, {w->acc, 3}, {w->drift, LP_DRIFT}, {w->gyro, 3}, {w->accel, 3}, {&accel_fresh, 1},
        {w->gyro_sum, 3}, {&w->count, 1}, {w->integral, 2}, {w->flow_reading, 3}, {w->flow.pending, 3},
        {w->flow.held, 3}, {&flow_fresh, 1}, {w->range.pending, 1}, {w->range.held, 1}, {&range_fresh, 1},
        {w->place.pending, LP_PLACE}, {w->place.held, LP_PLACE}, {&place_fresh, 1},
    };
    for (unsigned p = 0; p < sizeof parts / sizeof parts[0]; ++p)
        for (int i = 0; i < parts[p].count; ++i, ++row) {
            real *at = job->values + row * job->lanes + lane;
            if (write) v_store(at, parts[p].at[i]); else parts[p].at[i] = v_load(at);
        }
    w->accel_fresh = accel_fresh > 0.5, w->flow.fresh = flow_fresh > 0.5, w->range.fresh = range_fresh > 0.5;
    w->place.fresh = place_fresh > 0.5;
#if LP_SEES
    for (int i = 0; i < LP_GRID + ENC_OUT + 3; ++i) {
        real *at = job->sight + i * job->lanes + lane;
        if (write) v_store(at, w->sight[i]); else w->sight[i] = v_load(at);
    }
#endif
    int64_t base = write ? job->steps : 0;
    for (int j = 0; j < 4; ++j)
        for (int k = 0; k < LP_HISTORY; ++k, ++row) {
            real *at = job->values + row * job->lanes + lane;
            if (write) v_store(at, w->commands[base + k][j]); else w->commands[k][j] = v_load(at);
        }
    double *clocks[] = {
        w->t, w->dt, w->release, w->accel_stamp,
        w->flow.next, w->flow.start, w->flow.stamp, w->flow.deliver, w->flow.held_stamp,
        w->range.next, w->range.start, w->range.stamp, w->range.deliver, w->range.held_stamp,
        w->place.next, w->place.start, w->place.stamp, w->place.deliver, w->place.held_stamp,
    };
    int count = sizeof clocks / sizeof clocks[0];
    for (int i = 0; i < count + LP_HISTORY; ++i) {
        double *mine = i < count ? clocks[i] : w->issued[base + i - count];
        double *at = job->clocks + i * job->lanes + lane;
        if (write) memcpy(at, mine, sizeof(Clock)); else memcpy(mine, at, sizeof(Clock));
    }
}
