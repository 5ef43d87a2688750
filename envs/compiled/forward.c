/* One lane group through time: observe, network, command, delay line, substeps, sensors, release, cost. */

static void observe_inputs(const Job *job, World *w, Step *r) {
    V *at = r->seen;
    *at++ = r->dt;
    for (int i = 0; i < 3; ++i) *at++ = w->gyro[i];
    for (int i = 0; i < 3; ++i) *at++ = w->accel[i];
    *at++ = one_where(w->accel_fresh);
    *at++ = one_where(w->flow.fresh);
    *at++ = one_where(w->range.fresh);
    *at++ = onboard_age(job, w, w->accel_stamp);
    *at++ = onboard_age(job, w, w->flow.held_stamp);
    *at++ = onboard_age(job, w, w->range.held_stamp);
    for (int i = 0; i < 3; ++i) *at++ = w->flow.held[i];
    *at++ = w->range.held[0];
#if LP_SEES
    *at++ = w->sight[SIGHT_FRESH];
    *at++ = sight_age(w);
#endif
    if (!LP_LOCATES) return;
    for (int i = 0; i < LP_PLACE; ++i) *at++ = w->place.held[i];
    *at++ = one_where(w->place.fresh);
    *at++ = onboard_age(job, w, w->place.held_stamp);
}

/* Seconds since the release, 0 in the hand. */
static V flown_s(const World *w) {
    V since;
    FOR_LANES lanes_of(&since)[l] = isinf(w->release[l]) ? 0 : (real)(w->t[l] - w->release[l]);
    return since;
}

/* Put the command in the delay line where the drone moves and one was given, unless it is not finite. Returns the lanes
 * in which it is not. */
static VI issue(World *w, const V *command, VI given, int64_t k) {
    V sum = {0}, *now = w->commands[k + LP_HISTORY], *before = w->commands[k + LP_HISTORY - 1];
    for (int j = 0; j < 4; ++j) sum += command[j];
    VI bad = not_finite(sum), taken = given & ~bad;
    for (int j = 0; j < 4; ++j) now[j] = v_where(taken, command[j], before[j]);
    FOR_LANES w->issued[k + LP_HISTORY][l] = flags_of(&taken)[l] ? w->t[l] : w->issued[k + LP_HISTORY - 1][l];
    return bad;
}

/* The newest command that has taken effect at t, lane by lane, among the LP_HISTORY newest. */
static void choose_command(World *w, int64_t k, int first, const double *t) {
    int changed = first;
    FOR_LANES {
        int32_t at = w->effect[l];
        if (first && at < k + 1) at = (int32_t)k + 1;
        while (at < k + LP_HISTORY && w->issued[at + 1][l] + w->command_latency_s[l] <= t[l] + EPS_S) ++at;
        changed |= at != w->effect[l];
        w->effect[l] = at;
    }
    if (!changed) return;
    for (int j = 0; j < 4; ++j)
        FOR_LANES lanes_of(&w->in_effect[j])[l] = lanes_of(&w->commands[w->effect[l]][j])[l];
}

static inline VI struck(const Job *job, int part, int mode, const double *since) {
    if (!job->faults) return (VI){0};
    return total_change(job->fault_table, job->faults, part, mode, since) > (real)0.5;
}

/* Lanes whose sensor repeats itself; one that has not spoken yet has nothing to repeat. */
static inline VI frozen(const Job *job, int part, const Slow *s, const double *since) {
    if (!job->faults) return (VI){0};
    VI m = struck(job, part, FREEZE, since);
    FOR_LANES flags_of(&m)[l] &= s->stamp[l] > 0 ? -1 : 0;
    return m;
}

/* What faults change in the drones and in the air, once a control step. */
static void disturbance(const Job *job, Step *r, const double *since) {
    for (int i = 0; i < LOAD - THRUST + 1; ++i) r->factor[i] = v_set(1);
    for (const Fault *f = job->fault_table; f < job->fault_table + job->faults; ++f) {
        int part = (int)f->part;
        if (part == WIND) r->wind[0] += change(f, since);
        else if (part >= THRUST && part < WIND) r->factor[part - THRUST] *= 1 + change(f, since);
    }
}

/* The drones as they are in a control step. */
static const V *disturbed(const Job *job, World *w, const Step *r) {
    if (!job->faults) return w->constants;
    disturb(w->constants, r->factor, w->disturbed);
    return w->disturbed;
}

static void flow_closes(const Job *job, World *w, Substep *s, V *body, const double *t, const V *noise) {
    Clock since;
    V window, reading[3], turn[2], sample[3];
    FOR_LANES {
        since[l] = t[l] - w->release[l];
        lanes_of(&window)[l] = (real)(t[l] - w->flow.start[l]);
    }
    s->closes |= FLOW_CLOSES;
    for (int i = 0; i < 2; ++i) s->integral[i] = w->integral[i];
    for (int i = 0; i < 3; ++i) s->gyro_sum[i] = w->gyro_sum[i], s->gyro[i] = w->gyro[i];
    s->count = w->count, s->window = window;
    AMONG(s->flow_closes, flow_sample(
        body, w->constants, s->integral, &s->window, s->gyro_sum, &s->count, s->gyro, noise + LP_N_FLOW, reading, turn
    ));
    s->flow_frozen = frozen(job, FLOW, &w->flow, since);
    if (job->faults) {
        V size = total_change(job->fault_table, job->faults, FLOW, SPIKE, since), wrong[2];
        AMONG(s->flow_closes, flow_spike(noise + LP_N_FLOW_LOSS, &size, wrong));
        for (int i = 0; i < 2; ++i) reading[i] += wrong[i];
        for (int i = 0; i < 3; ++i) reading[i] = v_where(s->flow_frozen, w->flow_reading[i], reading[i]);
    }
    for (int i = 0; i < 2; ++i) sample[i] = reading[i] + turn[i];
    sample[2] = reading[2];
    VI silent = lost(&w->flow_rules, since, noise[LP_N_FLOW_LOSS]) | struck(job, FLOW, OFF, since);
    s->flow_due = deliver(&w->flow, t, 3, fits(job, w, &w->flow));
    s->flow_sent = close_window(
        &w->flow, &w->flow_rules, s->flow_closes, ~silent & (sample[2] > 0), sample, 3, t,
        noise[LP_N_FLOW_JITTER], job->settings[SENSOR_JITTER]
    );
    for (int i = 0; i < 3; ++i) w->flow_reading[i] = v_where(s->flow_sent, reading[i], w->flow_reading[i]);
    for (int i = 0; i < 2; ++i) w->integral[i] = only(~s->flow_closes, w->integral[i]);
    for (int i = 0; i < 3; ++i) w->gyro_sum[i] = only(~s->flow_closes, w->gyro_sum[i]);
    w->count = only(~s->flow_closes, w->count);
}

static void range_closes(const Job *job, World *w, Substep *s, VI closes, V *body, const double *t, const V *noise) {
    Clock since;
    V sample, returns;
    FOR_LANES since[l] = t[l] - w->release[l];
    s->closes |= RANGE_CLOSES;
    AMONG(closes, range_sample(body, w->constants, noise + LP_N_RANGE, &sample, &returns));
    VI silent = lost(&w->range_rules, since, noise[LP_N_RANGE_LOSS]) | struck(job, RANGE, OFF, since);
    VI stuck = frozen(job, RANGE, &w->range, since);
    if (job->faults) {
        V size = total_change(job->fault_table, job->faults, RANGE, SPIKE, since), wrong;
        AMONG(closes, range_spike(noise + LP_N_RANGE_LOSS, &size, &wrong));
        sample = v_where(stuck, w->range.pending[0], sample + wrong);
    }
    s->range_due = deliver(&w->range, t, 1, fits(job, w, &w->range));
    s->range_new = ~stuck & close_window(
        &w->range, &w->range_rules, closes, ~silent & ((returns > 0.5) | stuck), &sample, 1, t,
        noise[LP_N_RANGE_JITTER], job->settings[SENSOR_JITTER]
    );
}

static void place_closes(const Job *job, World *w, Substep *s, VI closes, V *body, const double *t, const V *noise) {
    Clock since;
    V sample[LP_PLACE];
    FOR_LANES since[l] = t[l] - w->release[l];
    s->closes |= PLACE_CLOSES;
    AMONG(closes, place_sample(body, w->constants, noise + LP_N_PLACE, sample));
    VI silent = lost(&w->place_rules, since, noise[LP_N_PLACE_LOSS]) | struck(job, PLACE, OFF, since);
    VI stuck = frozen(job, PLACE, &w->place, since);
    if (job->faults) {
        V size = total_change(job->fault_table, job->faults, PLACE, SPIKE, since), wrong[2];
        AMONG(closes, flow_spike(noise + LP_N_PLACE_LOSS, &size, wrong));
        sample[0] += wrong[0];
        for (int i = 0; i < LP_PLACE; ++i) sample[i] = v_where(stuck, w->place.pending[i], sample[i]);
    }
    s->place_due = deliver(&w->place, t, LP_PLACE, fits(job, w, &w->place));
    s->place_new = ~stuck & close_window(
        &w->place, &w->place_rules, closes, ~silent, sample, LP_PLACE, t, noise[LP_N_PLACE_JITTER],
        job->settings[SENSOR_JITTER]
    );
}

/* The IMU event that ends a step; it counts into the flow window that ends at the same instant. */
static void sample_imu(const Job *job, World *w, Step *r, V *body, const V *noise) {
    Clock since;
    V gyro[3], accel[3];
    FOR_LANES since[l] = w->t[l] - w->release[l];
    imu_sample(body, r->acc, w->drift, w->constants, noise + LP_N_GYRO, gyro, accel);
    VI accel_off = struck(job, ACCEL, OFF, since);
    r->gyro_kept = r->refused | struck(job, GYRO, FREEZE, since);
    r->accel_kept = r->refused | accel_off | struck(job, ACCEL, FREEZE, since);
    for (int i = 0; i < 3; ++i) {
        w->gyro[i] = v_where(r->gyro_kept, w->gyro[i], gyro[i]);
        w->accel[i] = v_where(r->accel_kept, w->accel[i], accel[i]);
        w->gyro_sum[i] = only(~r->restarted, w->gyro_sum[i]) + only(~r->refused, w->gyro[i]);
        w->acc[i] = r->acc[i];
    }
    w->count = only(~r->restarted, w->count) + one_where(~r->refused);
    w->accel_fresh = (w->accel_fresh & r->refused) | ~(accel_off | r->refused);
    FOR_LANES {
        double before = flags_of(&r->moved)[l] ? -(double)INFINITY : w->accel_stamp[l];
        w->accel_stamp[l] = flags_of(&accel_off)[l] | flags_of(&r->refused)[l] ? before : w->t[l];
    }
}

static void substeps(const Job *job, World *w, Step *r, int64_t k, const double *dt, const V *noise) {
    int n = job->substeps[k];
    const V *constants = disturbed(job, w, r);
    Clock start, h, t;
    FOR_LANES start[l] = w->t[l], h[l] = dt[l] / n;
    r->h_both[0] = as_real(h);
    r->h_both[1] = only(r->moving, r->h_both[0]);
    for (int i = 0; i < n; ++i) {
        Substep *s = (Substep *)w->body;
        Substep *next = job->gradients ? s + 1 : w->substeps + (s == w->substeps);
        V seen_flow[2], acc[3];
        FOR_LANES t[l] = start[l] + i * h[l];
        choose_command(w, k, i == 0, t);
        memcpy(s->effect, w->effect, sizeof s->effect);
        substep(s->body, w->drift, constants, w->in_effect, r->wind, r->h_both, next->body, acc, seen_flow);
        w->body = next->body;
        FOR_LANES t[l] = start[l] + (i + 1) * h[l];
        if (i == n - 1) {
            memcpy(w->t, t, sizeof t);
            memcpy(w->dt, dt, sizeof t);
            for (int j = 0; j < 3; ++j) r->acc[j] = only(r->moving, acc[j]);
            sample_imu(job, w, r, next->body, noise);
        }
        for (int j = 0; j < 2; ++j) w->integral[j] += seen_flow[j];
        s->closes = 0;
        s->flow_closes = closing(&w->flow, t);
        if (any_lane(s->flow_closes)) flow_closes(job, w, s, next->body, t, noise);
        VI range = closing(&w->range, t);
        if (any_lane(range)) range_closes(job, w, s, range, next->body, t, noise);
        if (!LP_LOCATES) continue;
        VI place = closing(&w->place, t);
        if (any_lane(place)) place_closes(job, w, s, place, next->body, t, noise);
    }
}

static void let_go(const Job *job, World *w, Step *r) {
    V now, body[LP_BODY];
    FOR_LANES {
        int go = isinf(w->release[l]) && w->t[l] >= job->settings[HOLD_S] - EPS_S;
        flags_of(&r->released)[l] = go ? -1 : 0;
        w->release[l] = go ? w->t[l] : w->release[l];
    }
    if (!any_lane(r->released)) return;
    now = one_where(r->released);
    memcpy(body, w->body, sizeof body);
    AMONG(r->released, release(body, w->constants, &now, w->body));
}

static void add_cost(const Job *job, World *w, Step *r, int64_t lane) {
    V cost;
    FOR_LANES {
        double since = w->t[l] - w->release[l];
        double share = since < job->settings[EARLY_S] ? job->settings[EARLY_WEIGHT] : 1.0;
        lanes_of(&r->share)[l] = since > 0 ? (real)(share * w->dt[l]) : 0;
    }
    r->share *= v_load(job->counted + lane);
    r->since = flown_s(w);
    event_cost(
        w->body, w->course, &r->since, w->cost_weights, r->action, r->previous, FOREST(w->near, w->body) &cost
    );
    w->cost += cost * r->share;
    w->weight += r->share;
}

/* Flights not yet at their end fail in these lanes. */
static void fail(const Job *job, World *w, VI lost, int64_t lane) {
    if (!any_lane(lost)) return;
    FOR_LANES if (flags_of(&lost)[l] && !(w->t[l] - w->release[l] > job->settings[DURATION_S]))
        job->ledger[6 * job->lanes + lane + l] = 1;
}

/* Flight scores, rows as in `envs.ledger`; of flights not yet at their end. */
static void keep_score(const Job *job, World *w, int64_t lane) {
    V figures[11], flown = flown_s(w);
    measure(w->body, w->course, &flown, FOREST_NEAR figures);
    fail(job, w, not_finite(figures[0] + figures[1] + figures[2] + figures[3]), lane);
    FOR_LANES {
        double *at = job->ledger + lane + l, since = w->t[l] - w->release[l];
        if (!(since >= 0 && since <= job->settings[DURATION_S])) continue;
#if LP_SEES
        double *closest = at + 12 * job->lanes, *crossed = closest + job->lanes;
        if (*crossed > 0) continue;
        *closest = fmin(*closest, lanes_of(&figures[9])[l]);
        if (lanes_of(&figures[10])[l] >= job->settings[CROSSES_M]) *crossed = since;
#endif
        double z = lanes_of(&figures[0])[l], cosine = lanes_of(&figures[1])[l];
        double clearance = lanes_of(&figures[6])[l], *touchdown = at + 9 * job->lanes;
        if (touchdown[job->lanes] > 0 && clearance <= 0) *touchdown = fmax(*touchdown, touchdown[2 * job->lanes]);
        touchdown[job->lanes] = clearance;
        touchdown[2 * job->lanes] = lanes_of(&figures[7])[l];
        if (z < at[0] && lanes_of(&figures[5])[l] > 0.5) at[0] = z;
        if (z > at[job->lanes]) at[job->lanes] = z;
        if (since >= job->settings[TILT_AFTER_S] && !(cosine > job->settings[TILT_COSINE])) at[2 * job->lanes] = 1;
        if (since < job->settings[MEASURE_AFTER_S]) continue;
        double error = lanes_of(&figures[2])[l], weight = lanes_of(&figures[4])[l] * w->dt[l];
        at[3 * job->lanes] += error * weight;
        at[4 * job->lanes] += lanes_of(&figures[3])[l] * weight;
        at[5 * job->lanes] += weight;
        at[7 * job->lanes] += error * error * weight;
        at[8 * job->lanes] += lanes_of(&figures[8])[l] * weight;
    }
}

/* One control step. Returns the first lane whose command is not finite, or -1; a flight that is scored goes on with the
 * command before and has failed. */
static int forward_step(const Job *job, World *w, int64_t k, int64_t lane) {
    Step *r = job->gradients ? w->steps + k : w->steps;
    V seen[LP_OBS + ENC_OUT], command[4], walk = v_set(job->settings[GYRO_WALK]), drifted[LP_DRIFT];
    const double *dt = job->dt_s + k * job->lanes + lane;
    const V *h = w->h[k & 1];
    V *h_next = w->h[(k + 1) & 1];
    V *noise = r->noise;
    if (job->normal) load_noise(job->normal, job->uniform, k, job->lanes, lane, noise);
    else draw_noise(&w->stream, noise);
    FOR_LANES flags_of(&r->moving)[l] = isinf(w->release[l]) ? 0 : -1;
    r->previous = k == 0 || !job->gradients ? w->previous : r[-1].action;
    VI unread = listen(job, w, r, k, lane);
#if LP_SEES
    r->glance = job->looks[k] & ARRIVES ? hear(job, w) : NULL;
    for (int i = 0; i < ENC_OUT; ++i) seen[LP_OBS + i] = w->sight[LP_GRID + i];
#endif
    observe_inputs(job, w, r);
    V flown = flown_s(w);
    observe(r->seen, w->body, w->course, &flown, w->constants, seen);
    net_step(job->weights, seen, h, r->dt, r->net, h_next, r->action);
    if (any_lane(r->idle)) {
        for (int i = 0; i < NET_STATE; ++i) h_next[i] = v_where(r->idle, h[i], h_next[i]);
        for (int i = 0; i < NET_OUTPUTS; ++i) r->action[i] = v_where(r->idle, r->previous[i], r->action[i]);
    }
    command_of(r->action, command);
    VI bad = issue(w, command, r->moving & ~r->idle, k);
    if (job->scoring) fail(job, w, bad, lane);
    else if (any_lane(bad)) return first_lane(bad);
    V step_dt = as_real(dt);
    drift(w->drift, w->constants, &step_dt, noise + LP_N_DRIFT, &walk, drifted, r->wind);
    if (job->faults) {
        Clock since;
        FOR_LANES since[l] = w->t[l] - w->release[l];
        disturbance(job, r, since);
    }
    memcpy(w->drift, drifted, sizeof drifted);
    memcpy(r->drift, drifted, sizeof drifted);
    w->flow.fresh &= unread, w->range.fresh &= unread, w->place.fresh &= unread;
    r->first = (Substep *)w->body;
    substeps(job, w, r, k, dt, noise);
    r->flow_due = deliver(&w->flow, w->t, 3, fits(job, w, &w->flow));
    r->range_due = deliver(&w->range, w->t, 1, fits(job, w, &w->range));
    if (LP_LOCATES) r->place_due = deliver(&w->place, w->t, LP_PLACE, fits(job, w, &w->place));
    forget(w, r->moved);
    let_go(job, w, r);
#if LP_SEES
    see(job, w, r, k, unread);
#endif
    if (job->scoring) keep_score(job, w, lane);
    else add_cost(job, w, r, lane);
    if (!job->gradients) memcpy(w->previous, r->action, sizeof r->action);
    return -1;
}
