#ifndef NEAP_SOCKET_H
#define NEAP_SOCKET_H

/* Faster answers, and a connection that is dead is found to be so within a minute. */
void socket_tune(int fd);

#endif
