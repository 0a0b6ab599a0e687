#!/bin/sh
mkdir -p "$1/lib" "$1/include"; [ -f "$1/lib/libssh2.a" ] || ar rc "$1/lib/libssh2.a"
