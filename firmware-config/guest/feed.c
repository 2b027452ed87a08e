/* What a guest says of itself: a JSON line ten times a second to its virtio-serial port, for the agent on the host.
 *
 *   feed [PORT]      PORT: a device, by default the port whose name is org.phasewatch.feed.0
 *
 * Build it static, so that it runs in any guest of its architecture:  cc -static -Os -o feed feed.c
 * Ticks lie on a grid of the monotonic clock; missed ones are skipped. When nobody reads, lines are dropped, and the
 * guest is not held up. It needs nothing but /proc (proc(5)), and no privilege beyond writing to the port.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME "org.phasewatch.feed.0"
#define TICK_NS 100000000LL
#define SECOND_NS 1000000000LL

static char text[1 << 16];

static const char *read_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    text[0] = 0;
    if (fd < 0) return text;
    for (;;) {
        ssize_t some = read(fd, text + used, sizeof text - 1 - used);
        if (some <= 0) break;
        used += (size_t)some;
        if (used == sizeof text - 1) break;
    }
    close(fd);
    text[used] = 0;
    return text;
}

/* The number after a word at the start of a line; -1 where there is none. */
static long long after(const char *where, const char *word) {
    size_t length = strlen(word);
    for (const char *line = where; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (!strncmp(line, word, length)) {
            char *end;
            long long value = strtoll(line + length, &end, 10);
            return end == line + length ? -1 : value;
        }
    }
    return -1;
}

static int whole_disk(const char *name) {
    size_t length = strlen(name);
    if (!strncmp(name, "nvme", 4)) return strchr(name, 'n') && !strchr(name + 4, 'p');
    if (!strncmp(name, "mmcblk", 6)) return !strchr(name + 6, 'p') && !strstr(name, "boot");
    return length >= 3 && strchr("vsh", name[0]) && name[1] == 'd' && (name[length - 1] < '0' || name[length - 1] > '9');
}

static int find_port(char *path, size_t room) {
    DIR *folder = opendir("/sys/class/virtio-ports");
    struct dirent *one;
    int found = 0;
    if (!folder) return 0;
    while (!found && (one = readdir(folder))) {
        char name[512];
        if (one->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "/sys/class/virtio-ports/%s/name", one->d_name);
        if (!strncmp(read_file(name), NAME "\n", strlen(NAME) + 1)) {
            snprintf(path, room, "/dev/%s", one->d_name);
            found = 1;
        }
    }
    closedir(folder);
    return found;
}

static long long ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static int number(char *out, size_t room, const char *name, long long value) {
    return value < 0 ? snprintf(out, room, ",\"%s\":null", name) : snprintf(out, room, ",\"%s\":%lld", name, value);
}

static size_t line_of(char *out, size_t room, const char *boot) {
    long long cpu[7] = {-1, -1, -1, -1, -1, -1, -1}, sectors[2] = {0, 0}, opens = -1;
    const char *stat = read_file("/proc/stat");
    sscanf(stat, "cpu %lld %lld %lld %lld %lld %lld %lld", cpu, cpu + 1, cpu + 2, cpu + 3, cpu + 4, cpu + 5, cpu + 6);
    long long ctxt = after(stat, "ctxt "), intr = after(stat, "intr "), running = after(stat, "procs_running ");
    const char *memory = read_file("/proc/meminfo");
    long long free_kb = after(memory, "MemFree:"), slab_kb = after(memory, "Slab:");
    for (const char *line = read_file("/proc/diskstats"); line && *line; line = strchr(line, '\n')) {
        char name[64];
        long long rd, wr;
        if (*line == '\n') line++;
        if (sscanf(line, "%*d %*d %63s %*d %*d %lld %*d %*d %*d %lld", name, &rd, &wr) == 3 && whole_disk(name)) {
            sectors[0] += rd;
            sectors[1] += wr;
        }
    }
    const char *values = strstr(read_file("/proc/net/snmp"), "\nTcp: ");
    /* the line of names comes first, and the values after it; the fifth is ActiveOpens */
    if (values && (values = strstr(values + 1, "\nTcp: "))) sscanf(values, "\nTcp: %*s %*s %*s %*s %lld", &opens);
    int used = snprintf(out, room, "{\"g_wall_ns\":%lld,\"g_mono_ns\":%lld,\"boot_id\":\"%s\"", ns(CLOCK_REALTIME),
                        ns(CLOCK_MONOTONIC), boot);
    struct { const char *name; long long value; } fields[] = {
        {"cpu_user", cpu[0] < 0 ? -1 : cpu[0] + cpu[1]}, {"cpu_system", cpu[2] < 0 ? -1 : cpu[2] + cpu[5] + cpu[6]},
        {"cpu_iowait", cpu[4]}, {"cpu_idle", cpu[3]}, {"ctxt", ctxt}, {"intr", intr}, {"procs_running", running},
        {"mem_free_kb", free_kb}, {"slab_kb", slab_kb}, {"wr_sectors", sectors[1]}, {"rd_sectors", sectors[0]},
        {"tcp_active_opens", opens},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        used += number(out + used, room - (size_t)used, fields[i].name, fields[i].value);
    used += snprintf(out + used, room - (size_t)used, "}\n");
    return (size_t)used;
}

int main(int count, char **arguments) {
    char path[512], boot[64] = "", line[1024];
    size_t have = 0, done = 0;
    if (count > 1) snprintf(path, sizeof path, "%s", arguments[1]);
    else if (!find_port(path, sizeof path)) {
        fprintf(stderr, "feed: no port %s; expected -device virtserialport,name=%s; see docs/live.md\n", NAME, NAME);
        return 2;
    }
    int port = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (port < 0) {
        fprintf(stderr, "feed: %s: %s\n", path, strerror(errno));
        return 2;
    }
    sscanf(read_file("/proc/sys/kernel/random/boot_id"), "%63[0-9a-f-]", boot);
    for (long long due = ns(CLOCK_MONOTONIC);; ) {
        long long late = ns(CLOCK_MONOTONIC) - due;
        due += (late / TICK_NS + 1) * TICK_NS;
        struct timespec at = {due / SECOND_NS, due % SECOND_NS};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
        if (done == have) have = line_of(line, sizeof line, boot), done = 0;
        ssize_t some = write(port, line + done, have - done);
        if (some > 0) done += (size_t)some;
        else if (done == 0) have = 0; /* nobody reads: this line is dropped; one that was begun is finished */
    }
}
