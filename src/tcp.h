#ifndef NEAP_TCP_H
#define NEAP_TCP_H

/* Faster answers, and a connection that is dead is found to be so within a minute. */
void tcp_tune(int fd);

#endif
