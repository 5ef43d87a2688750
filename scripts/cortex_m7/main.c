/*
 * Flies an exported policy in QEMU and tells, in hexadecimal:
 *   selftest BITS          largest difference of the recorded steps, as bits of a float
 *   state BYTES            of policy_state
 *   stack BYTES            deepest use by policy_step, its callers not counted
 *   ticks SUM EMPTY LEAST MOST     of the timer, over all steps; EMPTY is the sum of calls of nothing
 *   step BITS BITS BITS BITS       the action of each step
 * and of a policy that sees, over grids that are each followed by a step in physical units:
 *   grid_stack BYTES       deepest use by policy_see
 *   grid_ticks SUM EMPTY LEAST MOST    of policy_see alone
 *   features BITS ...      what each grid left in the state
 *   answer BITS BITS BITS BITS     the action of the step after it
 * Inputs are those of scripts/cortex_m7/drawn.py, from the same congruence of whole numbers.
 */
#include "host.h"
#include "policy.h"

#define STEPS 1000
#define GRIDS 100
#define PAINTED 4096 /* words below the stack pointer that are watched */
#define PAINT 0xA5C3F00Du

/* SysTick of the Armv7-M manual, on the processor's clock. */
#define TIMER_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define TIMER_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define TIMER_NOW (*(volatile uint32_t *)0xE000E018u)
#define TIMER_RANGE 0x00FFFFFFu

typedef int (*step_function)(policy_state *state, const float *x, float dt_s, float *action);

static uint32_t drawn_number = 1;

static float drawn(void)
{
    drawn_number = drawn_number * 1664525u + 1013904223u;
    return (float)(drawn_number >> 8);
}

/* Within -2 and 2. */
static float drawn_around(void)
{
    return drawn() * (1.0f / 4194304.0f) - 2.0f;
}

static float drawn_dt_s(void)
{
    return drawn() * (0.05f / 16777216.0f);
}

static float draw_event(int k, float *x)
{
    int i;
    float dt_s;
    for (i = 0; i < POLICY_INPUTS; ++i)
        x[i] = drawn_around();
    dt_s = drawn_dt_s();
    return k % 16 == 0 ? 0.0f : dt_s;
}

static void say_bits(uint32_t value)
{
    char text[10];
    int i;
    text[0] = ' ';
    for (i = 0; i < 8; ++i)
        text[1 + i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
    text[9] = 0;
    say(text);
}

static void say_float(float value)
{
    union {
        float number;
        uint32_t bits;
    } seen;
    seen.number = value;
    say_bits(seen.bits);
}

static void say_ticks(const char *word, uint32_t sum, uint32_t idle, uint32_t least, uint32_t most)
{
    say(word);
    say_bits(sum);
    say_bits(idle);
    say_bits(least);
    say_bits(most);
}

static int nothing(policy_state *state, const float *x, float dt_s, float *action)
{
    (void)state;
    (void)x;
    (void)dt_s;
    (void)action;
    return 0;
}

static uint32_t timed(step_function step, policy_state *state, const float *x, float dt_s, float *action)
{
    const uint32_t before = TIMER_NOW;
    (void)step(state, x, dt_s, action);
    return (before - TIMER_NOW) & TIMER_RANGE;
}

/* Both always inline: what they paint lies below the stack pointer, where a call of them would stand. */
static inline __attribute__((always_inline)) volatile uint32_t *paint(void)
{
    volatile uint32_t *top, *word;
    __asm volatile("mov %0, sp" : "=r"(top));
    for (word = top - PAINTED; word < top; ++word)
        *word = PAINT;
    return top;
}

static inline __attribute__((always_inline)) uint32_t painted_over(volatile uint32_t *top)
{
    volatile uint32_t *word;
    for (word = top - PAINTED; word < top && *word == PAINT; ++word) {
    }
    return (uint32_t)((top - word) * 4);
}

static __attribute__((noinline)) uint32_t stack_bytes(void)
{
    static policy_observation seen;
    static policy_command command;
    static policy_state state;
    volatile uint32_t *top;
    policy_init(&state);
    seen.dt_s = 0.01f;
    top = paint();
    (void)policy_step(&state, &seen, &command);
    return painted_over(top);
}

#ifdef POLICY_FLOWS
typedef int (*see_function)(policy_state *state, const float *flow, const float *gyro, float speed_m_s);

static int nothing_seen(policy_state *state, const float *flow, const float *gyro, float speed_m_s)
{
    (void)state;
    (void)flow;
    (void)gyro;
    (void)speed_m_s;
    return 0;
}

static uint32_t timed_grid(see_function see, policy_state *state, const float *flow, const float *gyro, float speed)
{
    const uint32_t before = TIMER_NOW;
    (void)see(state, flow, gyro, speed);
    return (before - TIMER_NOW) & TIMER_RANGE;
}

static __attribute__((noinline)) uint32_t grid_stack_bytes(void)
{
    static float flow[POLICY_FLOWS], gyro[3];
    static policy_state state;
    volatile uint32_t *top;
    policy_init(&state);
    top = paint();
    (void)policy_see(&state, flow, gyro, 1.0f);
    return painted_over(top);
}

/* Flows of many sizes, to 8 rad/s; one ray in eight saw nothing. */
static void draw_grid(float *flow)
{
    volatile float zero = 0.0f;
    int ray, k;
    for (ray = 0; ray < POLICY_FLOWS / 2; ++ray) {
        const int blind = drawn() < 2097152.0f;
        for (k = 0; k < 2; ++k) {
            const float root = drawn_around();
            flow[2 * ray + k] = blind ? zero / zero : root * root * root;
        }
    }
}

static void see_and_step(void)
{
    static float flow[POLICY_FLOWS];
    static policy_state state;
    static union {
        policy_observation fields;
        float numbers[sizeof(policy_observation) / sizeof(float)];
    } seen;
    volatile see_function see = policy_see, empty = nothing_seen;
    policy_command command;
    float gyro[3], speed;
    uint32_t sum = 0, idle = 0, least = TIMER_RANGE, most = 0, spent;
    int k, i;
    say("\ngrid_stack");
    say_bits(grid_stack_bytes());
    policy_init(&state);
    drawn_number = 1;
    for (k = 0; k < GRIDS; ++k) {
        draw_grid(flow);
        for (i = 0; i < 3; ++i)
            gyro[i] = drawn_around();
        speed = drawn_around() + 2.0f;
        for (i = 0; i < (int)(sizeof(seen) / sizeof(float)); ++i)
            seen.numbers[i] = drawn_around();
        seen.fields.dt_s = drawn_dt_s();
        spent = timed_grid(see, &state, flow, gyro, speed);
        idle += timed_grid(empty, &state, flow, gyro, speed);
        sum += spent;
        least = spent < least ? spent : least;
        most = spent > most ? spent : most;
        (void)policy_step(&state, &seen.fields, &command);
        say("\nfeatures");
        for (i = 0; i < POLICY_FEATURES; ++i)
            say_float(state.features[i]);
        say("\nanswer");
        for (i = 0; i < POLICY_OUTPUTS; ++i)
            say_float(command.action[i]);
    }
    say_ticks("\ngrid_ticks", sum, idle, least, most);
}
#endif

int main(void)
{
    static policy_state state;
    volatile step_function step = policy_step_scaled, empty = nothing;
    float x[POLICY_INPUTS], action[POLICY_OUTPUTS];
    uint32_t sum = 0, idle = 0, least = TIMER_RANGE, most = 0;
    int k, i;
    TIMER_RELOAD = TIMER_RANGE;
    TIMER_NOW = 0;
    TIMER_CONTROL = 5;
    say("selftest");
    say_float(policy_selftest());
    say("\nstate");
    say_bits((uint32_t)sizeof(policy_state));
    say("\nstack");
    say_bits(stack_bytes());
    policy_init(&state);
    for (k = 0; k < STEPS; ++k) {
        const float dt_s = draw_event(k, x);
        const uint32_t spent = timed(step, &state, x, dt_s, action);
        idle += timed(empty, &state, x, dt_s, action);
        sum += spent;
        least = spent < least ? spent : least;
        most = spent > most ? spent : most;
        say("\nstep");
        for (i = 0; i < POLICY_OUTPUTS; ++i)
            say_float(action[i]);
    }
#ifdef POLICY_FLOWS
    see_and_step();
#endif
    say_ticks("\nticks", sum, idle, least, most); /* last: where they are told, all was */
    say("\n");
    return 0;
}
