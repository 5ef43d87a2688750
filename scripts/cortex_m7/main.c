/*
 * Flies an exported policy in QEMU and tells, in hexadecimal:
 *   selftest BITS          largest difference of the recorded steps, as bits of a float
 *   state BYTES            of policy_state
 *   stack BYTES            deepest use by policy_step, its callers not counted
 *   ticks SUM EMPTY LEAST MOST     of the timer, over all steps; EMPTY is the sum of calls of nothing
 *   step BITS BITS BITS BITS       the action of each step
 * Inputs are those of scripts/cortex_m7/emulate.py, from the same congruence of whole numbers.
 */
#include "host.h"
#include "policy.h"

#define STEPS 1000
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

static float draw_event(int k, float *x)
{
    int i;
    float dt_s;
    for (i = 0; i < POLICY_INPUTS; ++i)
        x[i] = drawn() * (1.0f / 4194304.0f) - 2.0f;
    dt_s = drawn() * (0.05f / 16777216.0f);
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

static __attribute__((noinline)) uint32_t stack_bytes(void)
{
    static policy_observation seen;
    static policy_command command;
    static policy_state state;
    volatile uint32_t *top, *word;
    policy_init(&state);
    seen.dt_s = 0.01f;
    __asm volatile("mov %0, sp" : "=r"(top));
    for (word = top - PAINTED; word < top; ++word)
        *word = PAINT;
    (void)policy_step(&state, &seen, &command);
    for (word = top - PAINTED; word < top && *word == PAINT; ++word) {
    }
    return (uint32_t)((top - word) * 4);
}

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
    say("\nticks");
    say_bits(sum);
    say_bits(idle);
    say_bits(least);
    say_bits(most);
    say("\n");
    return 0;
}
