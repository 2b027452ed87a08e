/* Work to order, inside the tiny guest: benign emulators, started and stopped by whoever holds the other end of the
 * virtio-serial port org.phasewatch.work.0 (`edge lab run` does; docs/recording.md).
 *
 * A line a command, any number of blanks between the words, answered by `ok` or `no` and the number of the line:
 *   start NAME KIND key=value …     KIND: cpu, files, net, udp, scan, spawn
 *   stop NAME                       and all that it started
 * Each work is a process group of its own. Nothing here leaves the guest but connections to the address it is told.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "org.phasewatch.work.0"
#define MOST_JOBS 64
#define MOST_FLIGHT 64
#define MS 1000000LL

static struct { char name[32]; pid_t pid; } jobs[MOST_JOBS];
static char *words[64];
static int word_count;
static uint64_t state = 88172645463325252ULL;
static char block[1 << 16];

static uint64_t draw(void) { /* xorshift64 (Marsaglia, 2003) */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static long long ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void rest(long long until) {
    struct timespec at = {until / 1000000000LL, until % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
}

static void burn(long long until) {
    static uint32_t cells[1 << 14];
    while (ns() < until)
        for (int i = 0; i < 500; i++) cells[draw() % (1 << 14)] += (uint32_t)i;
}

static const char *text(const char *key, const char *otherwise) {
    size_t length = strlen(key);
    for (int i = 3; i < word_count; i++)
        if (!strncmp(words[i], key, length) && words[i][length] == '=') return words[i] + length + 1;
    return otherwise;
}

static long long number(const char *key, long long otherwise) {
    const char *found = text(key, NULL);
    return found ? strtoll(found, NULL, 10) : otherwise;
}

/* From one round to the next: `every` ms, give or take `jitter` percent. */
static long long pause_ns(void) {
    long long every = number("every", 1000) * MS, jitter = number("jitter", 0);
    if (jitter <= 0) return every;
    long long most = every * jitter / 100;
    return every - most + (long long)(draw() % (uint64_t)(2 * most + 1));
}

static void work_cpu(void) {
    long long duty = number("duty", 100), period = number("every", 100) * MS;
    for (long long i = 1; i < number("procs", 1); i++)
        if (fork() == 0) {
            state += (uint64_t)i * 7919;
            break;
        }
    for (;;) {
        long long began = ns(), share = period * duty / 100;
        burn(began + share);
        if (duty < 100) rest(began + period);
    }
}

static void work_files(void) {
    long long files = number("files", 16), kb = number("kb", 64), writes = number("write", 50), sync = number("sync", 0);
    char folder[64], path[128];
    snprintf(folder, sizeof folder, "/data/%.31s", words[1]);
    mkdir(folder, 0755);
    for (;;) {
        long long began = ns(), pause = pause_ns();
        for (long long i = 0; i < number("count", 1); i++) {
            snprintf(path, sizeof path, "%s/%lld", folder, (long long)(draw() % (uint64_t)files));
            int write_it = (long long)(draw() % 100) < writes || access(path, R_OK);
            int fd = open(path, write_it ? O_WRONLY | O_CREAT : O_RDONLY, 0644);
            if (fd < 0) continue;
            for (long long done = 0; done < kb * 1024; done += (long long)sizeof block) {
                size_t some = (size_t)(kb * 1024 - done < (long long)sizeof block ? kb * 1024 - done : (long long)sizeof block);
                *(uint64_t *)block = draw();
                if ((write_it ? write(fd, block, some) : read(fd, block, some)) <= 0) break;
            }
            if (write_it && (long long)(draw() % 100) < sync) fsync(fd);
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* what is read comes from the disk, and not from memory */
            close(fd);
            if (write_it && (long long)(draw() % 100) < number("remove", 0)) unlink(path);
        }
        rest(began + pause);
    }
}

static struct sockaddr_in address_of(const char *to, long long port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, to, &address.sin_addr);
    return address;
}

/* One connection: two numbers in hex say how much goes up and how much shall come down. */
static void talk(const struct sockaddr_in *to, long long up, long long down, long long kbs, long long hold) {
    struct timeval patience = {5, 0};
    char head[20];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) {
        snprintf(head, sizeof head, "%08llx%08llx", up, down);
        long long began = ns(), done = 0;
        if (write(fd, head, 16) == 16)
            while (done < up) {
                size_t some = (size_t)(up - done < 8192 ? up - done : 8192);
                ssize_t sent = write(fd, block, some);
                if (sent <= 0) break;
                done += sent;
                if (kbs > 0) rest(began + done * 1000000LL / kbs); /* 1 kB is 1000 bytes */
            }
        for (done = 0; done < down;) {
            ssize_t came = read(fd, block, sizeof block);
            if (came <= 0) break;
            done += came;
            if (kbs > 0 && up == 0) rest(began + done * 1000000LL / kbs);
        }
        if (hold > 0) rest(ns() + hold * MS);
    }
    close(fd);
}

static void work_net(void) {
    struct sockaddr_in to = address_of(text("to", "127.0.0.1"), number("port", 1));
    for (;;) {
        long long began = ns(), pause = pause_ns();
        for (long long i = 0; i < number("count", 1); i++)
            talk(&to, number("up", 0), number("down", 0), number("kbs", 0), number("hold", 0));
        if (number("once", 0)) _exit(0);
        rest(began + pause);
    }
}

static void work_udp(void) {
    struct sockaddr_in to = address_of(text("to", "127.0.0.1"), number("port", 1));
    size_t size = (size_t)number("up", 48);
    struct timeval patience = {1, 0};
    for (;;) {
        long long began = ns(), pause = pause_ns();
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (sendto(fd, block, size, 0, (struct sockaddr *)&to, sizeof to) > 0) (void)!recv(fd, block, sizeof block, 0);
        close(fd);
        rest(began + pause);
    }
}

/* Connections to one address after another, each closed as soon as it stands, or after its time. */
static void work_scan(void) {
    uint32_t base = ntohl(address_of(text("to", "127.0.0.1"), 0).sin_addr.s_addr);
    long long hosts = number("hosts", 254), ports[16], count = 0;
    for (const char *at = text("ports", "80"); at && count < 16; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        ports[count++] = strtoll(at, NULL, 10);
    struct pollfd flight[MOST_FLIGHT];
    long long until[MOST_FLIGHT], due = ns();
    int flying = 0;
    for (;;) {
        if (ns() >= due && flying < MOST_FLIGHT) {
            struct sockaddr_in to = address_of("0.0.0.0", ports[draw() % (uint64_t)count]);
            to.sin_addr.s_addr = htonl(base + (uint32_t)(1 + draw() % (uint64_t)hosts));
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EINPROGRESS) {
                flight[flying] = (struct pollfd){.fd = fd, .events = POLLOUT};
                until[flying++] = ns() + number("timeout", 800) * MS;
            } else close(fd);
            due += pause_ns();
            if (due < ns() - 1000 * MS) due = ns();
        }
        long long wait = (due - ns()) / MS;
        poll(flight, (nfds_t)flying, wait < 1 ? 1 : wait > 50 ? 50 : (int)wait);
        for (int i = 0; i < flying; i++)
            if (flight[i].revents || ns() > until[i]) {
                close(flight[i].fd);
                flight[i] = flight[--flying];
                until[i--] = until[flying];
            }
    }
}

static void work_spawn(void) {
    for (;;) {
        long long began = ns(), pause = pause_ns();
        for (long long i = 0; i < number("count", 1); i++) {
            pid_t pid = fork();
            if (pid == 0) {
                burn(ns() + number("cpu", 0) * MS);
                execl("/bin/busybox", "true", (char *)NULL);
                _exit(1);
            }
            if (pid > 0) waitpid(pid, NULL, 0);
        }
        rest(began + pause);
    }
}

static int start(void) {
    static const struct { const char *kind; void (*work)(void); } kinds[] = {
        {"cpu", work_cpu}, {"files", work_files}, {"net", work_net}, {"udp", work_udp}, {"scan", work_scan}, {"spawn", work_spawn},
    };
    if (word_count < 3 || strlen(words[1]) > 31 || strchr(words[1], '/')) return 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(words[2], kinds[k].kind))
            for (int i = 0; i < MOST_JOBS; i++)
                if (!jobs[i].pid) {
                    pid_t pid = fork();
                    if (pid == 0) {
                        setpgid(0, 0);
                        signal(SIGPIPE, SIG_IGN);
                        for (int fd = 3; fd < 64; fd++) close(fd);
                        state ^= (uint64_t)number("seed", 1) * 2654435761ULL + 1;
                        for (int j = 0; j < 8; j++) draw();
                        kinds[k].work();
                        _exit(0);
                    }
                    if (pid < 0) return 0;
                    setpgid(pid, pid);
                    snprintf(jobs[i].name, sizeof jobs[i].name, "%s", words[1]);
                    jobs[i].pid = pid;
                    return 1;
                }
    return 0;
}

static int stop(void) {
    int found = 0;
    for (int i = 0; i < MOST_JOBS && word_count > 1; i++)
        if (jobs[i].pid && !strcmp(jobs[i].name, words[1])) {
            kill(-jobs[i].pid, SIGKILL);
            waitpid(jobs[i].pid, NULL, 0);
            jobs[i].pid = 0;
            found = 1;
        }
    return found;
}

static int find_port(char *path, size_t room) {
    DIR *folder = opendir("/sys/class/virtio-ports");
    struct dirent *one;
    int found = 0;
    while (folder && !found && (one = readdir(folder))) {
        char name[512], said[64] = "";
        snprintf(name, sizeof name, "/sys/class/virtio-ports/%s/name", one->d_name);
        FILE *file = one->d_name[0] == '.' ? NULL : fopen(name, "r");
        if (file && fgets(said, sizeof said, file) && !strcmp(said, PORT "\n")) {
            snprintf(path, room, "/dev/%s", one->d_name);
            found = 1;
        }
        if (file) fclose(file);
    }
    if (folder) closedir(folder);
    return found;
}

int main(void) {
    char path[512], line[4096], answer[32];
    long long lines = 0;
    if (!find_port(path, sizeof path)) return 0; /* nobody has work for us */
    int port = open(path, O_RDWR | O_CLOEXEC);
    if (port < 0) return 2;
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        size_t have = 0;
        while (have < sizeof line - 1) {
            ssize_t some = read(port, line + have, 1);
            if (some <= 0) {
                rest(ns() + 100 * MS); /* nobody is at the other end */
                continue;
            }
            if (line[have] == '\n') break;
            have++;
        }
        line[have] = 0;
        lines++;
        word_count = 0;
        for (char *word = strtok(line, " "); word && word_count < 64; word = strtok(NULL, " ")) words[word_count++] = word;
        for (int i = 0; i < MOST_JOBS; i++) /* those that ended by themselves */
            if (jobs[i].pid && waitpid(jobs[i].pid, NULL, WNOHANG) > 0) jobs[i].pid = 0;
        int done = word_count == 0 ? 0 : !strcmp(words[0], "start") ? start() : !strcmp(words[0], "stop") ? stop() : 0;
        if (word_count && !strcmp(words[0], "hello")) done = 1;
        int size = snprintf(answer, sizeof answer, "%s %lld\n", done ? "ok" : "no", lines);
        (void)!write(port, answer, (size_t)size);
    }
}
