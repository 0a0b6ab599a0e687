/*
 * Asks web pages over and over, each time by a new connection, and writes down what came.
 *
 *   client [-r PER_SECOND] [-t SECONDS] [-o LOG] [-H HOST_HEADER] HOST[:PORT][/PATH]...
 *
 * Asks every page PER_SECOND (20) times a second, until SECONDS have passed or SIGINT or SIGTERM comes. LOG (standard
 * output) gets one line a request: seconds since the start, page, status, milliseconds, first word of the body or what
 * went wrong; status 0 is a request without a whole reply. At the end standard output gets, for each page, a line
 * "PAGE requests N failed N WORD N WORD N"; the exit status is 1 if any request failed (status other than 200).
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PAGES 8
#define MAX_OPEN 512
#define MAX_WORDS 8
#define TIMEOUT 5.0 /* seconds */

struct page {
	const char *name;
	char host[128], port[8], path[256];
	struct sockaddr_storage address;
	socklen_t address_length;
	long requests, failed;
	struct {
		char text[64];
		long count;
	} words[MAX_WORDS]; /* empty text: free */
};

struct request {
	int fd; /* -1: free */
	int sent;
	struct page *page;
	double started;
	size_t length;
	char reply[8192];
};

static struct page pages[MAX_PAGES];
static struct request requests[MAX_OPEN];
static struct pollfd polled[MAX_OPEN];
static volatile sig_atomic_t stopped;
static const char *host_header;
static FILE *out;
static double began;

static void stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void count_word(struct page *p, const char *word)
{
	for (int i = 0; i < MAX_WORDS; i++) {
		if (!p->words[i].text[0])
			snprintf(p->words[i].text, sizeof(p->words[i].text), "%s", word);
		if (!strcmp(p->words[i].text, word)) {
			p->words[i].count++;
			return;
		}
	}
}

static void finish(struct request *r, int status, const char *word)
{
	double t = now();

	fprintf(out, "%.3f %s %d %.1f %s\n", r->started - began, r->page->name, status, (t - r->started) * 1e3, word);
	r->page->requests++;
	if (status != 200)
		r->page->failed++;
	count_word(r->page, word);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

static void fail(struct request *r, const char *what)
{
	char word[64];

	snprintf(word, sizeof(word), "%s", what);
	for (char *c = word; *c; c++)
		if (*c == ' ')
			*c = '-';
	finish(r, 0, word);
}

static void start(struct page *p)
{
	struct request *r = requests;

	while (r < requests + MAX_OPEN && r->fd >= 0)
		r++;
	if (r == requests + MAX_OPEN) {
		fprintf(stderr, "client: more than %d requests without an answer\n", MAX_OPEN);
		exit(2);
	}
	*r = (struct request){.page = p, .started = now()};
	r->fd = socket(p->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || (connect(r->fd, (struct sockaddr *)&p->address, p->address_length) && errno != EINPROGRESS))
		fail(r, strerror(errno));
}

/* The request fits any socket buffer, so that one write sends it whole. */
static void ask(struct request *r)
{
	const char *host = host_header ? host_header : r->page->host;
	char text[1024];
	int length = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", r->page->path, host);

	if (send(r->fd, text, length, MSG_NOSIGNAL) == length)
		r->sent = 1;
	else
		fail(r, strerror(errno));
}

/* At the end of the connection: a reply is whole if its body is as long as it says. */
static void judge(struct request *r)
{
	char word[64] = "-";
	char *body, *length;
	int status = 0;

	r->reply[r->length] = 0;
	body = strstr(r->reply, "\r\n\r\n");
	if (!body || sscanf(r->reply, "HTTP/1.%*d %d", &status) != 1) {
		fail(r, "no whole reply");
		return;
	}
	length = strcasestr(r->reply, "\nContent-Length:");
	if (length && length < body && strtoul(length + 16, NULL, 10) != r->length - (body + 4 - r->reply)) {
		fail(r, "body cut off");
		return;
	}
	sscanf(body + 4, "%63s", word);
	finish(r, status, word);
}

static void take(struct request *r)
{
	char *end = r->reply + r->length;
	ssize_t n = recv(r->fd, end, sizeof(r->reply) - 1 - r->length, 0);

	if (n > 0)
		r->length += n;
	else if (n == 0 || r->length == sizeof(r->reply) - 1)
		judge(r);
	else if (errno != EAGAIN)
		fail(r, strerror(errno));
}

/* Turns every open request that is ready; returns how many are open. */
static int turn(int timeout_ms)
{
	int open = 0;

	for (int i = 0; i < MAX_OPEN; i++) {
		polled[i] = (struct pollfd){.fd = requests[i].fd, .events = requests[i].sent ? POLLIN : POLLOUT};
		open += requests[i].fd >= 0;
	}
	if (poll(polled, MAX_OPEN, timeout_ms) < 0)
		return open;
	for (int i = 0; i < MAX_OPEN; i++) {
		if (requests[i].fd < 0)
			continue;
		if (polled[i].revents)
			(requests[i].sent ? take : ask)(&requests[i]);
		else if (now() - requests[i].started > TIMEOUT)
			fail(&requests[i], "timeout");
	}
	return open;
}

static void resolve(struct page *p, const char *name)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int code;

	p->name = name;
	strcpy(p->port, "80");
	strcpy(p->path, "/");
	if (sscanf(name, "%127[^:/]:%7[0-9]%255s", p->host, p->port, p->path) < 2)
		sscanf(name, "%127[^:/]%255s", p->host, p->path);
	code = getaddrinfo(p->host, p->port, &hints, &found);
	if (code) {
		fprintf(stderr, "client: %s: %s\n", p->host, gai_strerror(code));
		exit(2);
	}
	memcpy(&p->address, found->ai_addr, found->ai_addrlen);
	p->address_length = found->ai_addrlen;
	freeaddrinfo(found);
}

static long report(int count)
{
	long failed = 0;

	for (struct page *p = pages; p < pages + count; p++) {
		printf("%s requests %ld failed %ld", p->name, p->requests, p->failed);
		for (int i = 0; i < MAX_WORDS && p->words[i].text[0]; i++)
			printf(" %s %ld", p->words[i].text, p->words[i].count);
		printf("\n");
		failed += p->failed;
	}
	return failed;
}

static void run(int count, double interval, double seconds)
{
	double next = began;

	while (!stopped && now() - began < seconds) {
		double wait = next - now();

		if (wait <= 0) {
			for (int i = 0; i < count; i++)
				start(&pages[i]);
			next += interval;
		} else {
			turn(wait * 1e3 + 1);
		}
	}
	while (turn(100) > 0)
		;
}

int main(int argc, char **argv)
{
	double rate = 20, seconds = 1e9;
	int option, count = 0;

	out = stdout;
	while ((option = getopt(argc, argv, "r:t:o:H:")) != -1) {
		if (option == 'r')
			rate = atof(optarg);
		else if (option == 't')
			seconds = atof(optarg);
		else if (option == 'H')
			host_header = optarg;
		else if (option != 'o' || !(out = fopen(optarg, "w")))
			return fprintf(stderr, "usage: client [-r PER_SECOND] [-t SECONDS] [-o LOG] [-H HOST] PAGE...\n"), 2;
	}
	if (optind == argc || argc - optind > MAX_PAGES || rate <= 0)
		return fprintf(stderr, "client: one to %d pages, a rate over 0\n", MAX_PAGES), 2;
	for (int i = 0; i < MAX_OPEN; i++)
		requests[i].fd = -1;
	for (; optind < argc; optind++)
		resolve(&pages[count++], argv[optind]);
	setlinebuf(out);
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	began = now();
	run(count, 1 / rate, seconds);
	return report(count) != 0;
}
