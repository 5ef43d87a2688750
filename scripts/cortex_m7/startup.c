/* From reset to main on a Cortex-M7: floating point on, variables in place. A fault ends the emulation with an error. */
#include "host.h"

extern uint32_t data_load, data_first, data_end, bss_first, bss_end, stack_top;
int main(void);
void start(void);

#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88u) /* CPACR of the Armv7-M manual */

static void fault(void)
{
    say("fault\n");
    leave(0);
}

void start(void)
{
    const uint32_t *from = &data_load;
    uint32_t *to;
    COPROCESSORS |= 0xFu << 20; /* CP10 and CP11, the floating-point unit */
    __asm volatile("dsb\n\tisb" ::: "memory");
    for (to = &data_first; to < &data_end; ++to)
        *to = *from++;
    for (to = &bss_first; to < &bss_end; ++to)
        *to = 0;
    leave(main() == 0);
}

typedef void (*handler)(void);
typedef struct {
    uint32_t *stack;
    handler reset, others[14];
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    &stack_top,
    start,
    {fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault},
};
