/* The adjoint of one lane group through time, from the last control step to the first. */

typedef struct {
    V body[LP_BODY], gyro[3], accel[3], gyro_sum[3], integral[2];
    V flow_reading[3], flow_pending[3], flow_held[3], range_pending, range_held;
    V place_pending[LP_PLACE], place_held[LP_PLACE];
    V h[NET_STATE + 1], previous[NET_OUTPUTS], features[ENC_OUT + 1];
} Adjoint;

/* A delivery read backwards: what was asked of the held value is asked of the sample that replaced it. */
static inline void undeliver(VI due, V *pending, V *held, int width) {
    for (int j = 0; j < width; ++j) {
        pending[j] += only(due, held[j]);
        held[j] = only(~due, held[j]);
    }
}

static void range_vjp(World *w, Adjoint *a, Substep *s, const V *noise) {
    V bar = only(s->range_new, a->range_pending);
    a->range_pending = only(~s->range_new, a->range_pending);
    undeliver(s->range_due, &a->range_pending, &a->range_held, 1);
    AMONG(s->range_new, range_sample_vjp(s[1].body, w->constants, noise + LP_N_RANGE, &bar, a->body));
}

static void place_vjp(World *w, Adjoint *a, Substep *s, const V *noise) {
    V bar[LP_PLACE];
    for (int j = 0; j < LP_PLACE; ++j) {
        bar[j] = only(s->place_new, a->place_pending[j]);
        a->place_pending[j] = only(~s->place_new, a->place_pending[j]);
    }
    undeliver(s->place_due, a->place_pending, a->place_held, LP_PLACE);
    AMONG(s->place_new, place_sample_vjp(s[1].body, w->constants, noise + LP_N_PLACE, bar, a->body));
}

static void flow_vjp(World *w, Adjoint *a, Substep *s, const V *noise) {
    V bar_turn[2], bar_reading[3];
    VI fresh = s->flow_sent & ~s->flow_frozen;
    for (int j = 0; j < 3; ++j) {
        V bar = only(s->flow_sent, a->flow_pending[j]);
        if (j < 2) bar_turn[j] = bar;
        a->flow_reading[j] += bar;
        bar_reading[j] = only(fresh, a->flow_reading[j]);
        a->flow_reading[j] = only(~fresh, a->flow_reading[j]);
        a->flow_pending[j] = only(~s->flow_sent, a->flow_pending[j]);
        a->gyro_sum[j] = only(~s->flow_closes, a->gyro_sum[j]);
    }
    for (int j = 0; j < 2; ++j) a->integral[j] = only(~s->flow_closes, a->integral[j]);
    undeliver(s->flow_due, a->flow_pending, a->flow_held, 3);
    AMONG(s->flow_sent, flow_sample_vjp(
        s[1].body, w->constants, s->integral, &s->window, s->gyro_sum, &s->count, s->gyro, noise + LP_N_FLOW, bar_reading,
        bar_turn, a->body, a->integral, a->gyro_sum, a->gyro
    ));
}

/* Backwards over the IMU event; afterwards a->gyro belongs to the event before. */
static void imu_vjp(World *w, Adjoint *a, Step *r, V *body, const V *noise, V *bar_acc) {
    V bar_gyro[3], bar_accel[3];
    for (int j = 0; j < 3; ++j) {
        V asked = a->gyro[j] + only(~r->refused, a->gyro_sum[j]);
        a->gyro_sum[j] = only(~r->restarted, a->gyro_sum[j]);
        bar_gyro[j] = only(~r->gyro_kept, asked);
        bar_accel[j] = only(~r->accel_kept, a->accel[j]);
        a->accel[j] = only(r->accel_kept, a->accel[j]);
        a->gyro[j] = only(r->gyro_kept, asked);
    }
    imu_sample_vjp(body, r->acc, r->drift, w->constants, noise + LP_N_GYRO, bar_gyro, bar_accel, a->body, bar_acc);
    for (int j = 0; j < 3; ++j) bar_acc[j] = only(r->moving, bar_acc[j]);
}

static void substeps_vjp(const Job *job, World *w, Adjoint *a, Step *r, int64_t k) {
    int n = job->substeps[k];
    const V *noise = r->noise, *constants = disturbed(job, w, r);
    for (int i = n - 1; i >= 0; --i) {
        Substep *s = r->first + i;
        V bar_acc[3] = {{0}}, bar_body[LP_BODY], bar_command[4];
        if (s->closes & PLACE_CLOSES) place_vjp(w, a, s, noise);
        if (s->closes & RANGE_CLOSES) range_vjp(w, a, s, noise);
        if (s->closes & FLOW_CLOSES) flow_vjp(w, a, s, noise);
        if (i == n - 1) imu_vjp(w, a, r, s[1].body, noise, bar_acc);
        V in_effect[4];
        for (int j = 0; j < 4; ++j)
            FOR_LANES lanes_of(&in_effect[j])[l] = lanes_of(&w->commands[s->effect[l]][j])[l];
        substep_vjp(
            s->body, r->drift, constants, in_effect, r->wind, r->h_both, a->body, bar_acc, a->integral,
            bar_body, bar_command
        );
        memcpy(a->body, bar_body, sizeof bar_body);
        for (int j = 0; j < 4; ++j)
            FOR_LANES lanes_of(&w->bar_commands[s->effect[l]][j])[l] += lanes_of(&bar_command[j])[l];
    }
}

static void observe_back(World *w, Adjoint *a, Step *r, const V *bar_x) {
    V bar[LP_SEEN];
    /* linear in what is seen: of the rest the heading alone has a part in the slope, that of the step's start */
    observe_vjp(r->seen, r->first->body, w->course, &r->since, w->constants, bar_x, bar);
    for (int j = 0; j < 3; ++j) {
        a->gyro[j] += bar[1 + j];
        a->accel[j] += bar[4 + j];
        a->flow_held[j] += bar[13 + j];
    }
    a->range_held += bar[16];
    for (int j = 0; LP_LOCATES && j < LP_PLACE; ++j) a->place_held[j] += bar[17 + j];
}

static void backward_step(const Job *job, World *w, Adjoint *a, int64_t k, V *delta) {
    Step *r = w->steps + k;
    V bar_action[NET_OUTPUTS], bar_x[LP_OBS + ENC_OUT], bar_h[NET_STATE + 1], bar_body[LP_BODY];
    V *body = (r->first + job->substeps[k])->body;
    memcpy(bar_action, a->previous, sizeof bar_action);
    event_cost_vjp(
        body, w->course, &r->since, w->cost_weights, r->action, r->previous, FOREST(r->near, body) &r->share, a->body,
        bar_action, a->previous
    );
    if (any_lane(r->released)) {
        V now = one_where(r->released);
        AMONG(r->released, release_vjp(body, w->constants, &now, a->body, bar_body));
        memcpy(a->body, bar_body, sizeof bar_body);
    }
    undeliver(r->flow_due, a->flow_pending, a->flow_held, 3);
    undeliver(r->range_due, &a->range_pending, &a->range_held, 1);
    if (LP_LOCATES) undeliver(r->place_due, a->place_pending, a->place_held, LP_PLACE);
    substeps_vjp(job, w, a, r, k);
    V bar_command[4], kept_h[NET_STATE + 1];
    for (int j = 0; j < 4; ++j) {
        V bar = only(r->moving, w->bar_commands[k + LP_HISTORY][j]);
        w->bar_commands[k + LP_HISTORY - 1][j] += only(r->idle, bar); /* the command of before went on */
        bar_command[j] = only(~r->idle, bar);
    }
    command_of_vjp(r->action, bar_command, bar_action);
    for (int i = 0; i < NET_OUTPUTS; ++i) {
        a->previous[i] += only(r->idle, bar_action[i]);
        bar_action[i] = only(~r->idle, bar_action[i]);
    }
    for (int i = 0; i < NET_STATE; ++i) {
        kept_h[i] = only(r->idle, a->h[i]);
        a->h[i] = only(~r->idle, a->h[i]);
    }
    net_vjp(job->weights, r->net, r->dt, a->h, bar_action, delta, bar_x, bar_h);
    for (int i = 0; i < NET_STATE; ++i) a->h[i] = bar_h[i] + kept_h[i];
    observe_back(w, a, r, bar_x);
#if LP_SEES
    for (int i = 0; i < ENC_OUT; ++i) a->features[i] += bar_x[LP_OBS + i];
    if (r->glance) hear_vjp(job, w, r->glance, a->features);
#endif
}

/* Gradient of the group's summed cost in the weights, reduced over its lanes. */
static void backward(const Job *job, World *w, double *gradient) {
    Adjoint a = {0};
    const V *tapes[NET_BLOCK];
    int filled = 0;
    memset(w->bar_commands, 0, sizeof(V) * 4 * (job->steps + LP_HISTORY));
    memset(w->gradient, 0, sizeof(V) * ALL_WEIGHTS);
    for (int64_t k = job->steps - 1; k >= 0; --k) {
        backward_step(job, w, &a, k, w->delta + filled * NET_DELTA);
        tapes[filled++] = w->steps[k].net;
        if (filled < NET_BLOCK && k > 0) continue;
        net_gradient(filled, tapes, w->delta, w->gradient);
        filled = 0;
    }
#if LP_SEES
    if (w->gathered) enc_gradient(w->gathered, w->gathered_tapes, w->sight_delta, w->gradient + NET_WEIGHTS);
    w->gathered = 0;
#endif
    for (int i = 0; i < ALL_WEIGHTS; ++i) gradient[i] = v_sum(w->gradient[i]);
}
