// Preloaded into a program, this makes its TCP sockets use cubic, as Ringleader's do: Gloo has no setting for it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol)
{
	static int (*next)(int, int, int);
	if (!next) next = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	int fd = next(domain, type, protocol);
	if (fd >= 0 && (domain == AF_INET || domain == AF_INET6)) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); // fails on UDP, which is as well
	return fd;
}
