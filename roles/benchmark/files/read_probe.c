// SPDX-License-Identifier: MIT
// read_probe [MEBIBYTES [REPETITIONS]]: how fast the cores read memory, as JSON in GB/s (1e9 bytes a second).
//
// One thread a core reads a buffer of its own (256 MiB unless told otherwise: many times its share of the L3 cache) from
// end to end. First the cores of each node read each node's memory, then all cores read buffers that are spread page by
// page over all nodes. "misplaced" counts the sampled pages that lie on another node than asked for, which mbind does not
// tell; it is null where the kernel does not let this process ask. Nodes and threads are those of /sys.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CPUS = CPU_SETSIZE, MAX_NODES = 1024, SAMPLES = 64, HUGE_PAGE = 2 << 20 };

// As wide as the widest registers of any CPU this runs on; the compiler splits it where they are narrower.
typedef long long wide __attribute__((vector_size(64)));

struct reader {
  pthread_t thread;
  int cpu, memory_node;  // -1: all nodes
  wide *buffer;
  int misplaced;  // sampled pages; -1 where that cannot be asked
};

static size_t bytes;
static int repetitions, nodes[MAX_NODES], node_count;
static unsigned long all_nodes[MAX_NODES / 64];
static pthread_barrier_t barrier;
static volatile long long sink;

static void fail(const char *what, const char *fix) {
  fprintf(stderr, "read_probe: %s (%s): %s.\n", what, strerror(errno), fix);
  exit(1);
}

// The numbers of a kernel list such as 0-2,8; how many there are, 0 where the file cannot be read.
static int read_list(const char *path, int *numbers, int limit) {
  FILE *file = fopen(path, "r");
  int count = 0, first, last;
  if (!file) return 0;
  while (fscanf(file, "%d", &first) == 1) {
    int mark = fgetc(file);
    last = first;
    if (mark == '-' && fscanf(file, "%d", &last) == 1) mark = fgetc(file);
    for (; first <= last && count < limit; first++) numbers[count++] = first;
    if (mark != ',') break;
  }
  fclose(file);
  return count;
}

// Whether this process may use the CPU, and it is the first thread of its core: a second one waits for the same memory.
static bool usable(int cpu, const cpu_set_t *allowed) {
  char path[128];
  int siblings[16];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  int count = read_list(path, siblings, 16);
  return cpu < MAX_CPUS && CPU_ISSET(cpu, allowed) && (count == 0 || siblings[0] == cpu);
}

static void place(struct reader *self) {
  unsigned long one[MAX_NODES / 64] = {0};
  bool spread = self->memory_node < 0;
  if (!spread) one[self->memory_node / 64] |= 1UL << (self->memory_node % 64);
  size_t room = bytes + HUGE_PAGE;
  char *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for a buffer", "give a smaller size, or stop what fills the memory");
  memory += HUGE_PAGE - (size_t)memory % HUGE_PAGE;
  madvise(memory, bytes, MADV_HUGEPAGE);
  // With one node there is nothing to choose, and a container may not be allowed to.
  if (syscall(SYS_mbind, memory, bytes, spread ? MPOL_INTERLEAVE : MPOL_BIND, spread ? all_nodes : one, MAX_NODES, 0) &&
      node_count > 1)
    fail("mbind is refused", "run as root outside a container, or give the container CAP_SYS_NICE");
  memset(memory, 1, bytes);
  self->buffer = (wide *)memory;
  for (int index = 0; index < SAMPLES && !spread && self->misplaced >= 0; index++) {
    int node = -1;
    char *page = memory + bytes / SAMPLES * (size_t)index;
    if (syscall(SYS_get_mempolicy, &node, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR))
      self->misplaced = -1;
    else
      self->misplaced += node != self->memory_node;
  }
}

static long long read_all(const wide *buffer) {
  wide sum[8] = {0};
  for (size_t index = 0; index < bytes / sizeof(wide); index += 8)
    for (int lane = 0; lane < 8; lane++) sum[lane] ^= buffer[index + (size_t)lane];
  for (int lane = 1; lane < 8; lane++) sum[0] ^= sum[lane];
  return sum[0][0] ^ sum[0][7];
}

static void *reader_main(void *argument) {
  struct reader *self = argument;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(self->cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one)) fail("a core cannot be chosen", "run on all CPUs of the machine");
  place(self);
  for (int pass = 0; pass < repetitions; pass++) {
    pthread_barrier_wait(&barrier);
    sink = read_all(self->buffer);
    pthread_barrier_wait(&barrier);
  }
  return NULL;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure(const int *cpus, int count, int cpu_node, int memory_node) {
  struct reader *readers = calloc((size_t)count, sizeof *readers);
  if (!readers) fail("no memory", "stop what fills the memory");
  pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
  for (int index = 0; index < count; index++) {
    readers[index].cpu = cpus[index];
    readers[index].memory_node = memory_node;
    if (pthread_create(&readers[index].thread, NULL, reader_main, &readers[index]))
      fail("a thread cannot be started", "raise the limit of processes");
  }
  if (memory_node < 0)
    printf("{\"cpu_node\": null, \"memory_node\": null, \"threads\": %d, \"gb_s\": [", count);
  else
    printf("{\"cpu_node\": %d, \"memory_node\": %d, \"threads\": %d, \"gb_s\": [", cpu_node, memory_node, count);
  for (int pass = 0; pass < repetitions; pass++) {
    pthread_barrier_wait(&barrier);
    double began = now();
    pthread_barrier_wait(&barrier);
    printf("%s%.3f", pass ? ", " : "", (double)bytes * count / (now() - began) / 1e9);
  }
  int misplaced = 0;
  for (int index = 0; index < count; index++) {
    pthread_join(readers[index].thread, NULL);
    misplaced = readers[index].misplaced < 0 || misplaced < 0 ? -1 : misplaced + readers[index].misplaced;
    munmap(readers[index].buffer, bytes);
  }
  if (misplaced < 0 || memory_node < 0)
    printf("], \"misplaced\": null}");
  else
    printf("], \"misplaced\": %d}", misplaced);
  pthread_barrier_destroy(&barrier);
  free(readers);
}

int main(int argc, char **argv) {
  long size = argc > 1 ? atol(argv[1]) : 256;
  repetitions = argc > 2 ? atoi(argv[2]) : 5;
  if (argc > 3 || size < 2 || size > 1 << 20 || repetitions < 1) {
    fprintf(stderr, "usage: read_probe [MEBIBYTES_A_THREAD [REPETITIONS]]\n");
    return 2;
  }
  bytes = (size_t)size << 20;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed)) fail("the CPUs cannot be asked for", "give the machine fewer CPUs");
  node_count = read_list("/sys/devices/system/node/has_memory", nodes, MAX_NODES);
  unsigned long may[MAX_NODES / 64] = {0};  // a cpuset may keep nodes back, which mbind then refuses
  if (!syscall(SYS_get_mempolicy, NULL, may, MAX_NODES, NULL, MPOL_F_MEMS_ALLOWED)) {
    int kept = 0;
    for (int index = 0; index < node_count; index++)
      if (may[nodes[index] / 64] >> (nodes[index] % 64) & 1) nodes[kept++] = nodes[index];
    node_count = kept;
  }
  if (!node_count) nodes[node_count++] = 0;  // a kernel without NUMA
  for (int index = 0; index < node_count; index++) all_nodes[nodes[index] / 64] |= 1UL << (nodes[index] % 64);

  static int cpus[MAX_CPUS], own[MAX_CPUS];
  int with_cpus[MAX_NODES], count = 0, groups = read_list("/sys/devices/system/node/has_cpu", with_cpus, MAX_NODES);
  for (int cpu = 0; cpu < MAX_CPUS; cpu++)
    if (usable(cpu, &allowed)) cpus[count++] = cpu;
  printf("{\"bytes_per_thread\": %zu, \"cells\": [", bytes);
  const char *between = "";  // a node may have no core that this process can use
  for (int group = 0; group < groups; group++) {
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", with_cpus[group]);
    int found = read_list(path, own, MAX_CPUS), kept = 0;
    for (int index = 0; index < found; index++)
      if (usable(own[index], &allowed)) own[kept++] = own[index];
    for (int target = 0; target < node_count && kept; target++) {
      printf("%s", between);
      between = ", ";
      measure(own, kept, with_cpus[group], nodes[target]);
      fflush(stdout);
    }
  }
  printf("], \"whole\": ");
  measure(cpus, count, -1, -1);
  printf("}\n");
  return 0;
}
