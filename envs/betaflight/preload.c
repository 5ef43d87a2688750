/* Preloaded into Betaflight's software-in-the-loop build.
 *
 * 1. Whatever it binds to every address is bound to loopback. LIQUID_PILOT_PORT_SHIFT is added to all ports, so that
 *    several can run side by side.
 * 2. With LIQUID_PILOT_CLOCK, a file of four 64-bit numbers that is shared with the simulator, its clock is simulated:
 *    time passes while its main thread sleeps, as much as it asked for, up to what the simulator grants. The flight
 *    then does not depend on how busy the machine is. Every look at the clock takes a little, so that a loop which
 *    waits for a moment comes to an end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 50u       /* that a look at the clock takes */
#define NAP_NS 20000l     /* of real time, while there is nothing to do */
#define START_NS 1000000000ull

struct shared_clock {
    uint64_t now_ns;     /* of the main thread */
    uint64_t granted_ns; /* how far it may go */
    uint64_t handled;    /* datagrams that were received and dealt with */
    uint64_t unused;
};

static struct shared_clock *shared;
static __thread int received; /* this thread has a datagram that it may not have dealt with */

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_nanosleep)(const struct timespec *, struct timespec *);
static ssize_t (*real_recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
static int (*real_select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
static int (*real_bind)(int, const struct sockaddr *, socklen_t);
static ssize_t (*real_sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("LIQUID_PILOT_CLOCK");
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_nanosleep = dlsym(RTLD_NEXT, "nanosleep");
    *(void **)&real_recvfrom = dlsym(RTLD_NEXT, "recvfrom");
    *(void **)&real_select = dlsym(RTLD_NEXT, "select");
    *(void **)&real_bind = dlsym(RTLD_NEXT, "bind");
    *(void **)&real_sendto = dlsym(RTLD_NEXT, "sendto");
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    prctl(PR_SET_PDEATHSIG, 15UL, 0UL, 0UL, 0UL); /* it ends with the simulator */
    if (path != NULL) {
        int file = open(path, O_RDWR);
        void *memory = file < 0 ? MAP_FAILED
                                : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (memory == MAP_FAILED)
            _exit(99);
        shared = memory;
    }
}

static int is_main(void)
{
    static __thread int known; /* 1 main, 2 another */
    if (known == 0)
        known = (long)getpid() == syscall(SYS_gettid) ? 1 : 2;
    return known == 1;
}

/* Main thread: let time pass, and wait where it is not granted. */
static uint64_t pass(uint64_t ns)
{
    uint64_t now = __atomic_load_n(&shared->now_ns, __ATOMIC_RELAXED) + ns;
    const struct timespec nap = {0, NAP_NS};
    __atomic_store_n(&shared->now_ns, now, __ATOMIC_RELEASE);
    while (now >= __atomic_load_n(&shared->granted_ns, __ATOMIC_ACQUIRE))
        real_nanosleep(&nap, NULL);
    return now;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    uint64_t now;
    if (shared == NULL || which != CLOCK_MONOTONIC)
        return real_clock_gettime(which, out);
    now = START_NS + (is_main() ? pass(LOOK_NS) : __atomic_load_n(&shared->now_ns, __ATOMIC_ACQUIRE));
    out->tv_sec = (time_t)(now / 1000000000ull);
    out->tv_nsec = (long)(now % 1000000000ull);
    return 0;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    if (shared == NULL || !is_main())
        return real_nanosleep(wanted, left);
    pass((uint64_t)wanted->tv_sec * 1000000000ull + (uint64_t)wanted->tv_nsec);
    return 0;
}

/* A thread that asks for the next datagram has dealt with the last one. */
static void asked_again(void)
{
    if (received && shared != NULL)
        __atomic_add_fetch(&shared->handled, 1, __ATOMIC_RELEASE);
    received = 0;
}

int select(int count, fd_set *in, fd_set *out, fd_set *bad, struct timeval *limit)
{
    asked_again();
    return real_select(count, in, out, bad, limit);
}

ssize_t recvfrom(int file, void *data, size_t bytes, int flags, struct sockaddr *address, socklen_t *size)
{
    ssize_t got;
    asked_again();
    got = real_recvfrom(file, data, bytes, flags, address, size);
    received = got > 0;
    return got;
}

union any_address {
    struct sockaddr plain;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static unsigned short shifted(unsigned short port)
{
    const char *told = getenv("LIQUID_PILOT_PORT_SHIFT");
    return port == 0 || told == NULL ? port : htons((unsigned short)(ntohs(port) + atoi(told)));
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
        out->four.sin_port = shifted(out->four.sin_port);
        return 1;
    }
    if (in->sa_family == AF_INET6) {
        if (listening && memcmp(&out->six.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
            out->six.sin6_addr = in6addr_loopback;
        out->six.sin6_port = shifted(out->six.sin6_port);
        return 1;
    }
    return 0;
}

int bind(int file, const struct sockaddr *address, socklen_t size)
{
    union any_address own;
    return real_bind(file, moved(&own, address, size, 1) ? &own.plain : address, size);
}

ssize_t sendto(int file, const void *data, size_t bytes, int flags, const struct sockaddr *address, socklen_t size)
{
    union any_address own;
    struct sockaddr_in here;
    socklen_t length = sizeof here;
    /* one that is not bound yet would be bound to every address by sending */
    if (address != NULL && address->sa_family == AF_INET && getsockname(file, (struct sockaddr *)&here, &length) == 0
        && here.sin_family == AF_INET && here.sin_port == 0) {
        here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        real_bind(file, (struct sockaddr *)&here, sizeof here);
    }
    return real_sendto(file, data, bytes, flags, moved(&own, address, size, 0) ? &own.plain : address, size);
}
