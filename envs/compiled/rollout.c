/* The call: every lane group through time and, with gradients, back. Groups do not touch each other. */

static void begin(const Job *job, World *w, int64_t lane) {
    int64_t row = job->lanes;
    memset(w, 0, sizeof *w);
    lay_out(w, job->steps, job->all_substeps, job->gradients, job->grids);
    for (int i = 0; i < LP_CONSTANTS; ++i) w->constants[i] = v_load(job->constants + i * row + lane);
    for (int i = 0; i < LP_COURSE; ++i) w->course[i] = v_load(job->course + i * row + lane);
    for (int i = 0; i < LP_COST_WEIGHTS; ++i) w->cost_weights[i] = v_set((real)job->cost_weights[i]);
    w->flow_rules.hz = w->constants[LP_AT_flow_hz], w->flow_rules.dropout = w->constants[LP_AT_flow_dropout];
    w->range_rules.hz = w->constants[LP_AT_range_hz], w->range_rules.dropout = w->constants[LP_AT_range_dropout];
    w->place_rules.hz = w->constants[LP_AT_position_hz], w->place_rules.dropout = w->constants[LP_AT_position_dropout];
    FOR_LANES w->place_rules.outage_start_s[l] = w->place_rules.outage_end_s[l] = (double)INFINITY;
    double *delays[] = {
        w->flow_rules.latency_s, w->range_rules.latency_s, w->command_latency_s, w->flow_rules.outage_start_s,
        w->flow_rules.outage_end_s, w->range_rules.outage_start_s, w->range_rules.outage_end_s,
        w->place_rules.latency_s,
    };
    for (int i = 0; i < LP_DELAYS; ++i) memcpy(delays[i], job->delays + i * row + lane, sizeof(Clock));
    w->stream = streams(job->seed, lane);
#if LP_SEES
    w->sparks = streams(job->seed ^ 0x5851f42d4c957f2du, lane);
#endif
    w->body = w->substeps->body;
    exchange(job, w, w->body, lane, 0);
#if LP_SEES
    find_near(w);
#endif
    for (int i = 0; i < NET_STATE; ++i) w->h[0][i] = v_load(job->h + i * row + lane);
    for (int i = 0; i < NET_OUTPUTS; ++i) w->previous[i] = v_load(job->action + i * row + lane);
}

static void end(const Job *job, World *w, int64_t lane) {
    const V *action = job->gradients && job->steps ? w->steps[job->steps - 1].action : w->previous;
    exchange(job, w, w->body, lane, 1);
    for (int i = 0; i < NET_STATE; ++i) v_store(job->h + i * job->lanes + lane, w->h[job->steps & 1][i]);
    for (int i = 0; i < NET_OUTPUTS; ++i) v_store(job->action + i * job->lanes + lane, action[i]);
}

/* Fly the lane groups first_group <= g < last_group. Returns the number of groups that met a command that is not
 * finite; unless it is scored, such a group stops there, says so in `trouble` and leaves state and gradient untouched. */
int64_t lp_rollout(const Job *job) {
    int64_t failed = 0;
    for (int64_t g = job->first_group; g < job->last_group; ++g) {
        World *w = (World *)job->workspace;
        int64_t lane = g * LANES;
        int bad = -1;
        begin(job, w, lane);
        BRANCHES_BEGIN();
        for (int64_t k = 0; k < job->steps && bad < 0; ++k) {
            bad = forward_step(job, w, k, lane);
            job->trouble[2 * g] = k;
        }
        job->trouble[2 * g + 1] = bad < 0 ? -1 : lane + bad;
        failed += bad >= 0;
        if (bad >= 0) continue;
        job->totals[2 * g] = v_sum(w->cost);
        job->totals[2 * g + 1] = v_sum(w->weight);
        if (job->gradients) backward(job, w, job->gradient + g * ALL_WEIGHTS);
        end(job, w, lane);
        BRANCHES_END(job->branches + lane);
    }
    return failed;
}
