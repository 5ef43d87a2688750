/*
 * A firmware's control loop around an exported policy (liquid-pilot export hover --c DIR): which sensor value goes
 * where, when it counts as fresh, how old it is, and when nothing may be commanded. See docs/onboard.md.
 *
 * The five board_ functions are yours. Body frame FLU (x forward, y left, z up), SI units, stamps of one clock in
 * microseconds. It holds the place at a height; it does not arm, take off or land, and watches no tilt, battery or link.
 */
#include <stdint.h>

#include "hover.h"

#define GYROS 128u /* a power of two; at 400 Hz 0.3 s: a flow window and its delay must fit in */
#define LONGEST_STEP_S 0.2f
#define OLDEST_S 10.0f /* age of a sensor that has not spoken, and the largest age */
#define AGE_SCALE_S 0.1f
#define FLOW_SILENT_S 2.0f /* "silent" in hover.h */
#define RANGE_SILENT_S 2.0f

typedef struct {
    uint64_t t_us;
    float gyro_rad_s[3], accel_m_s2[3];
} imu_sample;

/* Angles over window_us that ends at t_us, rotation not removed: ((v_x/d - w_y) dt, (v_y/d + w_x) dt). */
typedef struct {
    uint64_t t_us, window_us;
    float angle_rad[2], quality; /* quality 0 (blind) to 1 */
} flow_sample;

typedef struct {
    uint64_t t_us;
    float distance_m; /* along body -z; NaN for no return */
} range_sample;

int board_imu(imu_sample *sample); /* each gives 1 and a new sample, or 0 */
int board_flow(flow_sample *sample);
int board_range(range_sample *sample);
void board_command(const hover_command *command); /* to the rate loop and the mixer */
void board_no_command(void); /* no command for this sample; after some, the firmware's own failsafe must act */

typedef struct {
    hover_state state;
    hover_observation seen; /* values stay here until newer ones come */
    struct {
        uint64_t t_us;
        float x_rad_s, y_rad_s;
    } gyro[GYROS];
    unsigned heard; /* IMU samples so far */
    flow_sample flow; /* newest, until the next step takes its rotation out */
    int flow_waits, flow_heard, range_heard;
    uint64_t imu_us, flow_us, range_us;
    float flow_age_s, range_age_s;
} pilot;

void pilot_init(pilot *p)
{
    static const pilot nothing; /* all zero */
    *p = nothing;
    hover_init(&p->state);
    p->seen.range_m = 1.0f; /* until the first return */
    p->flow_age_s = p->range_age_s = OLDEST_S;
}

void pilot_flow(pilot *p, const flow_sample *sample)
{
    if (sample->quality > 0.0f && sample->window_us > 0) {
        p->flow = *sample;
        p->flow_waits = 1;
    }
}

void pilot_range(pilot *p, const range_sample *sample)
{
    if (sample->distance_m >= 0.0f && sample->distance_m <= 100.0f) { /* not for NaN */
        p->seen.range_m = sample->distance_m;
        p->seen.fresh[2] = 1.0f;
        p->range_us = sample->t_us;
        p->range_heard = 1;
    }
}

static float seconds(uint64_t later_us, uint64_t earlier_us)
{
    return later_us > earlier_us ? (float)(later_us - earlier_us) * 1e-6f : 0.0f;
}

static float age(int heard, uint64_t now_us, uint64_t then_us)
{
    const float s = seconds(now_us, then_us);
    return heard && s < OLDEST_S ? s : OLDEST_S;
}

/* What turned the image is taken out with the mean gyro of the flow's own window; with none there, the newest before. */
static void take_flow(pilot *p)
{
    const uint64_t end_us = p->flow.t_us, begin_us = end_us - p->flow.window_us;
    const float window_s = (float)p->flow.window_us * 1e-6f;
    const unsigned kept = p->heard < GYROS ? p->heard : GYROS;
    float x = 0.0f, y = 0.0f;
    unsigned k, n = 0;
    for (k = 1; k <= kept; ++k) { /* newest first */
        const unsigned at = (p->heard - k) % GYROS;
        if (p->gyro[at].t_us > end_us && k < kept)
            continue;
        if (n > 0 && p->gyro[at].t_us <= begin_us)
            break;
        x += p->gyro[at].x_rad_s;
        y += p->gyro[at].y_rad_s;
        ++n;
        if (p->gyro[at].t_us <= begin_us)
            break;
    }
    if (n == 0)
        return;
    p->seen.flow_rate_rad_s[0] = p->flow.angle_rad[0] / window_s + y / (float)n;
    p->seen.flow_rate_rad_s[1] = p->flow.angle_rad[1] / window_s - x / (float)n;
    p->seen.flow_quality = p->flow.quality;
    p->seen.fresh[1] = 1.0f;
    p->flow_us = end_us;
    p->flow_heard = 1;
    p->flow_waits = 0;
}

/* One step for one IMU sample. Returns HOVER_OK where the command may be flown. */
int pilot_step(pilot *p, const imu_sample *imu, float height_m, hover_command *command)
{
    hover_observation *seen = &p->seen;
    const unsigned at = p->heard % GYROS;
    int status, i;
    seen->dt_s = p->heard ? seconds(imu->t_us, p->imu_us) : 0.0f;
    if (p->heard && !(seen->dt_s > 0.0f))
        return HOVER_BAD_DT; /* the same sample again, or a clock that runs backwards */
    if (seen->dt_s > LONGEST_STEP_S)
        seen->dt_s = LONGEST_STEP_S;
    p->gyro[at].t_us = p->imu_us = imu->t_us;
    p->gyro[at].x_rad_s = imu->gyro_rad_s[0];
    p->gyro[at].y_rad_s = imu->gyro_rad_s[1];
    ++p->heard;
    for (i = 0; i < 3; ++i) {
        seen->gyro_rad_s[i] = imu->gyro_rad_s[i];
        seen->accel_m_s2[i] = imu->accel_m_s2[i];
    }
    if (p->flow_waits)
        take_flow(p);
    p->flow_age_s = age(p->flow_heard, imu->t_us, p->flow_us);
    p->range_age_s = age(p->range_heard, imu->t_us, p->range_us);
    seen->fresh[0] = 1.0f; /* the accelerometer comes with the gyro, so its age stays 0 */
    seen->age[1] = p->flow_age_s / (p->flow_age_s + AGE_SCALE_S);
    seen->age[2] = p->range_age_s / (p->range_age_s + AGE_SCALE_S);
    seen->height_error_m = height_m - seen->range_m; /* velocity and yaw rate asked for stay 0: hold the place */
    status = hover_step(&p->state, seen, command);
    seen->fresh[1] = seen->fresh[2] = 0.0f; /* fresh for one step only */
    if (status == HOVER_NOT_FINITE)
        hover_reset(&p->state);
    return status;
}

int main(void)
{
    static pilot p;
    imu_sample imu;
    flow_sample flow;
    range_sample range;
    hover_command command;
    if (!(hover_selftest() <= HOVER_SELFTEST_TOLERANCE))
        return 1; /* never arm with it */
    pilot_init(&p);
    for (;;) {
        if (board_flow(&flow))
            pilot_flow(&p, &flow);
        if (board_range(&range))
            pilot_range(&p, &range);
        if (!board_imu(&imu))
            continue; /* no IMU, no command: silence is what the firmware's failsafe waits for */
        if (pilot_step(&p, &imu, 1.0f, &command) == HOVER_OK && p.flow_age_s < FLOW_SILENT_S
            && p.range_age_s < RANGE_SILENT_S)
            board_command(&command);
        else
            board_no_command();
    }
}
