// The limit to compare with: the same system calls as internal/sock, in C.
//
//   ref tcp-send HOST PORT STREAMS      until killed
//   ref tcp-recv HOST PORT STREAMS WARM TIME
//   ref udp-send HOST PORT SIZE         until killed
//   ref udp-recv HOST PORT SIZE WARM TIME
//
// A receiver prints one line of JSON. Times are in milliseconds.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BLOCK = 64 << 10, VECTORS = 64, BATCH = 8, STREAMS = 64, DATAGRAM = 65507, SEGMENTS = 128 };

static struct sockaddr_in peer;
static volatile uint64_t bytes[STREAMS][8]; // a cache line each
static volatile uint64_t packets, lost;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(long ns) {
	struct timespec t = {0, ns};
	nanosleep(&t, NULL);
}

static int tcp_socket(void) {
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (fd < 0) die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	return fd;
}

static void *tcp_send(void *arg) {
	static char block[BLOCK];
	struct iovec iov[VECTORS];
	int fd = tcp_socket();
	(void)arg;
	for (int i = 0; i < VECTORS; i++) iov[i] = (struct iovec){block, BLOCK};
	if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) die("connect");
	while (writev(fd, iov, VECTORS) > 0) {
	}
	return NULL;
}

static void *tcp_recv(void *arg) {
	long *a = arg;
	char none;
	for (;;) {
		ssize_t n = recv(a[0], &none, 4 << 20, MSG_TRUNC | MSG_DONTWAIT);
		if (n > 0)
			bytes[a[1]][0] += n;
		else if (n == 0)
			return NULL;
		else if (errno == EAGAIN)
			nap(30000);
		else if (errno != EINTR)
			return NULL;
	}
}

static void udp_buffers(int fd) {
	int send = 4 << 20, receive = 64 << 20;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof send))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof receive))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
}

// udp_send sends four GSO trains in a call, or for large sizes eight datagrams,
// with a big-endian number in every datagram.
static void udp_send(int size) {
	static char buf[8 * DATAGRAM];
	char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
	struct iovec iov[8] = {{0}};
	struct mmsghdr mm[8] = {{{0}}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), gso = size <= 32753;
	int messages = gso ? 4 : 8, each = gso ? DATAGRAM / size : 1;
	uint32_t seq = 0;
	struct cmsghdr *c = (struct cmsghdr *)control;
	if (fd < 0) die("socket");
	if (each > SEGMENTS) each = SEGMENTS;
	udp_buffers(fd);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	*(uint16_t *)CMSG_DATA(c) = size;
	for (int i = 0; i < messages; i++) {
		iov[i] = (struct iovec){buf + i * each * size, each * size};
		mm[i].msg_hdr = (struct msghdr){.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &iov[i], .msg_iovlen = 1};
		if (gso) {
			mm[i].msg_hdr.msg_control = control;
			mm[i].msg_hdr.msg_controllen = sizeof control;
		}
	}
	for (;;) {
		for (int i = 0; i < messages * each; i++) {
			uint32_t be = htonl(seq + i);
			memcpy(buf + i * size, &be, 4);
		}
		int n = sendmmsg(fd, mm, messages, 0);
		if (n > 0) {
			seq += n * each;
		} else if (errno == EINVAL && each > 64) { // an older kernel
			each = 64;
			for (int i = 0; i < messages; i++) iov[i] = (struct iovec){buf + i * each * size, each * size};
		} else if (errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED) {
			nap(50000);
		} else {
			die("send");
		}
	}
}

// udp_recv counts what comes and the numbers that are missing, with a look at
// every header.
static void *udp_recv(void *arg) {
	static char buf[BATCH][BLOCK], control[BATCH][64];
	struct mmsghdr mm[BATCH];
	struct iovec iov[BATCH];
	int fd = *(long *)arg;
	uint32_t next = 0;
	int begun = 0;
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){buf[i], BLOCK};
			mm[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
		}
		int n = recvmmsg(fd, mm, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (n < 0) {
			if (errno == EAGAIN) nap(50000);
			continue;
		}
		for (int i = 0; i < n; i++) {
			int len = mm[i].msg_len, segment = len;
			for (struct cmsghdr *c = CMSG_FIRSTHDR(&mm[i].msg_hdr); c; c = CMSG_NXTHDR(&mm[i].msg_hdr, c))
				if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) segment = *(int *)CMSG_DATA(c);
			for (int at = 0; at < len; at += segment) {
				uint32_t seq;
				memcpy(&seq, buf[i] + at, 4);
				seq = ntohl(seq);
				if (begun && seq != next) lost += seq - next;
				begun = 1;
				next = seq + 1;
				packets++;
			}
			bytes[0][0] += len;
		}
	}
	return NULL;
}

static uint64_t total(int streams) {
	uint64_t sum = 0;
	for (int i = 0; i < streams; i++) sum += bytes[i][0];
	return sum;
}

// report waits for the first byte, warms up, measures and prints.
static void report(int streams, int warm, int time) {
	while (total(streams) == 0) usleep(1000);
	usleep(warm * 1000);
	uint64_t b = total(streams), p = packets, l = lost;
	double start = now();
	usleep(time * 1000);
	double took = now() - start;
	printf("{\"bytes\":%llu,\"packets\":%llu,\"lost\":%llu,\"seconds\":%.6f,\"all_bytes\":%llu,\"technique\":\"c\"}\n",
	       (unsigned long long)(total(streams) - b), (unsigned long long)(packets - p), (unsigned long long)(lost - l), took,
	       (unsigned long long)total(streams));
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv) {
	if (argc < 5) return fprintf(stderr, "usage: see ref.c\n"), 2;
	int n = atoi(argv[4]);
	peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
	if (!inet_aton(argv[2], &peer.sin_addr)) die(argv[2]);
	pthread_t t[STREAMS];
	if (!strcmp(argv[1], "tcp-send")) {
		for (int i = 0; i < n; i++) pthread_create(&t[i], NULL, tcp_send, NULL);
		for (int i = 0; i < n; i++) pthread_join(t[i], NULL);
		return 0;
	}
	if (!strcmp(argv[1], "udp-send")) udp_send(n);
	if (argc < 7) return fprintf(stderr, "usage: see ref.c\n"), 2;
	static long args[STREAMS][2];
	if (!strcmp(argv[1], "tcp-recv")) {
		int l = tcp_socket();
		if (bind(l, (struct sockaddr *)&peer, sizeof peer) || listen(l, STREAMS)) die("listen");
		for (int i = 0; i < n; i++) {
			args[i][0] = accept(l, NULL, NULL);
			args[i][1] = i;
			pthread_create(&t[i], NULL, tcp_recv, args[i]);
		}
		report(n, atoi(argv[5]), atoi(argv[6]));
	}
	if (!strcmp(argv[1], "udp-recv")) {
		int one = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);
		udp_buffers(fd);
		setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&peer, sizeof peer)) die("bind");
		args[0][0] = fd;
		pthread_create(&t[0], NULL, udp_recv, args[0]);
		report(1, atoi(argv[5]), atoi(argv[6]));
	}
	return 2;
}
