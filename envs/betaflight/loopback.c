/* Preloaded into a program whose sockets would listen to the whole network: whatever it binds to every address is bound
 * to loopback instead. LIQUID_PILOT_PORT_SHIFT is added to all ports, so that several can run side by side.
 * Sleeps are made exact as well: the firmware's loop sleeps 50 us and must come round within 125 us, which the kernel's
 * usual slack of 50 us does not allow; its gyro loop then stands still. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

union any_address {
    struct sockaddr plain;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

__attribute__((constructor)) static void exact_sleeps(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

static int shift(void)
{
    const char *told = getenv("LIQUID_PILOT_PORT_SHIFT");
    return told ? atoi(told) : 0;
}

/* A changed copy of an internet address. Returns 0 for one of another kind. */
static int moved(union any_address *out, const struct sockaddr *in, socklen_t size, int listening)
{
    memset(out, 0, sizeof *out);
    if (in == NULL || size > sizeof *out)
        return 0;
    memcpy(out, in, size);
    if (in->sa_family == AF_INET) {
        if (listening && out->four.sin_addr.s_addr == htonl(INADDR_ANY))
            out->four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (out->four.sin_port != 0)
            out->four.sin_port = htons((unsigned short)(ntohs(out->four.sin_port) + shift()));
        return 1;
    }
    if (in->sa_family == AF_INET6) {
        if (listening && memcmp(&out->six.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
            out->six.sin6_addr = in6addr_loopback;
        if (out->six.sin6_port != 0)
            out->six.sin6_port = htons((unsigned short)(ntohs(out->six.sin6_port) + shift()));
        return 1;
    }
    return 0;
}

int bind(int file, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    union any_address own;
    *(void **)&next = dlsym(RTLD_NEXT, "bind");
    return next(file, moved(&own, address, size, 1) ? &own.plain : address, size);
}

ssize_t sendto(int file, const void *data, size_t bytes, int flags, const struct sockaddr *address, socklen_t size)
{
    ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    union any_address own;
    *(void **)&next = dlsym(RTLD_NEXT, "sendto");
    return next(file, data, bytes, flags, moved(&own, address, size, 0) ? &own.plain : address, size);
}
