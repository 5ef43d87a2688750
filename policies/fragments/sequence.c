/* A sequence of steps of many rows, and its derivative. One row a lane, groups of lanes one after the other.
 *
 * Needs a network without a readout: net_step, net_vjp, net_gradient, net_bar_dt and their sizes. Arrays of rows stand as
 * they do outside, (batch, steps, width); they are read and written in blocks of steps, whose numbers lie together.
 * A step whose mask is 0 keeps the state. */

typedef struct {
    int64_t batch, steps;
    const LP_REAL *weights, *x, *dt, *mask, *h; /* mask: 0 where every step counts */
    LP_REAL *states, *last;
    V *tapes;                                   /* (groups, steps, NET_TAPE); 0 where no derivative follows */
    const LP_REAL *bar_states, *bar_last;       /* each 0 where nothing depends on it */
    LP_REAL *bar_weights, *bar_x, *bar_dt, *bar_h; /* each 0 where it is not asked for */
    V *scratch;                                 /* lp_scratch() lanes */
} Sequence;

/* What is held of one block of steps, and the gradient of the weights, lane by lane. */
typedef struct {
    V x[NET_BLOCK * NET_INPUTS], states[NET_BLOCK * NET_STATE], dt[NET_BLOCK], mask[NET_BLOCK], bar_dt[NET_BLOCK];
    V tape[NET_TAPE], delta[NET_BLOCK * NET_DELTA], h[NET_STATE], bar_weights[NET_WEIGHTS];
} Scratch;

int64_t lp_lanes(void) { return LP_LANES; }
int64_t lp_weights(void) { return NET_WEIGHTS; }
int64_t lp_tape(void) { return NET_TAPE; }
int64_t lp_scratch(void) { return sizeof(Scratch) / sizeof(V); }

/* Rows of the group from `row` on. */
static int live_rows(const Sequence *job, int64_t row) {
    return job->batch - row < LP_LANES ? (int)(job->batch - row) : LP_LANES;
}

/* Where step `from` of `row` stands in an array; 0 stays 0. */
#define AT(array, width) ((array) ? (array) + (row * job->steps + from) * (width) : 0)

static void forward_group(const Sequence *job, Scratch *s, int64_t row) {
    int64_t steps = job->steps;
    int live = live_rows(job, row);
    V *tapes = job->tapes ? job->tapes + row / LP_LANES * steps * NET_TAPE : 0;
    pack(job->h + row * NET_STATE, NET_STATE, live, NET_STATE, s->h);
    for (int64_t from = 0; from < steps; from += NET_BLOCK) {
        int count = steps - from < NET_BLOCK ? (int)(steps - from) : NET_BLOCK;
        const V *h = s->h;
        pack(AT(job->x, NET_INPUTS), steps * NET_INPUTS, live, count * NET_INPUTS, s->x);
        pack(AT(job->dt, 1), steps, live, count, s->dt);
        pack(AT(job->mask, 1), steps, live, count, s->mask);
        for (int t = 0; t < count; ++t) {
            V *tape = tapes ? tapes + (from + t) * NET_TAPE : s->tape, *next = s->states + t * NET_STATE;
            net_step(job->weights, s->x + t * NET_INPUTS, h, s->dt[t], tape, next, 0);
            for (int n = 0; job->mask && n < NET_STATE; ++n) next[n] = v_select(s->mask[t], v_set(0), next[n], h[n]);
            h = next;
        }
        memcpy(s->h, h, sizeof s->h);
        unpack(s->states, steps * NET_STATE, live, count * NET_STATE, AT(job->states, NET_STATE));
    }
    unpack(s->h, NET_STATE, live, NET_STATE, job->last + row * NET_STATE);
}

/* One step back: s->h from that of the state after it to that of the state before it. */
static void step_back(const Sequence *job, Scratch *s, const V *tape, int t) {
    V taken[NET_STATE], kept[NET_STATE];
    for (int n = 0; n < NET_STATE; ++n) {
        V bar = s->h[n] + s->states[t * NET_STATE + n];
        taken[n] = job->mask ? bar * s->mask[t] : bar;
        kept[n] = bar - taken[n];
    }
    net_vjp(
        job->weights, tape, s->dt[t], taken, 0, s->delta + t * NET_DELTA, job->bar_x ? s->x + t * NET_INPUTS : 0, s->h
    );
    for (int n = 0; job->mask && n < NET_STATE; ++n) s->h[n] += kept[n];
    if (job->bar_dt) s->bar_dt[t] = net_bar_dt(job->weights, tape, s->delta + t * NET_DELTA, taken, s->dt[t]);
}

static void backward_group(const Sequence *job, Scratch *s, int64_t row) {
    int64_t steps = job->steps;
    int live = live_rows(job, row);
    const V *tapes = job->tapes + row / LP_LANES * steps * NET_TAPE, *block[NET_BLOCK];
    pack(job->bar_last ? job->bar_last + row * NET_STATE : 0, NET_STATE, live, NET_STATE, s->h);
    for (int64_t from = (steps - 1) / NET_BLOCK * NET_BLOCK; from >= 0; from -= NET_BLOCK) {
        int count = steps - from < NET_BLOCK ? (int)(steps - from) : NET_BLOCK;
        pack(AT(job->bar_states, NET_STATE), steps * NET_STATE, live, count * NET_STATE, s->states);
        pack(AT(job->dt, 1), steps, live, count, s->dt);
        pack(AT(job->mask, 1), steps, live, count, s->mask);
        for (int t = count - 1; t >= 0; --t) step_back(job, s, block[t] = tapes + (from + t) * NET_TAPE, t);
        if (job->bar_weights) net_gradient(count, block, s->delta, s->bar_weights);
        unpack(s->x, steps * NET_INPUTS, live, count * NET_INPUTS, AT(job->bar_x, NET_INPUTS));
        unpack(s->bar_dt, steps, live, count, AT(job->bar_dt, 1));
    }
    unpack(s->h, NET_STATE, live, NET_STATE, job->bar_h ? job->bar_h + row * NET_STATE : 0);
}

void lp_forward(const Sequence *job) {
    for (int64_t row = 0; row < job->batch; row += LP_LANES) forward_group(job, (Scratch *)job->scratch, row);
}

void lp_backward(const Sequence *job) {
    Scratch *s = (Scratch *)job->scratch;
    memset(s->bar_weights, 0, sizeof s->bar_weights);
    for (int64_t row = 0; row < job->batch; row += LP_LANES) backward_group(job, s, row);
    if (job->bar_weights) sum_lanes(s->bar_weights, NET_WEIGHTS, job->bar_weights);
}
