//! A function in C: a WASI preview-1 command that answers by CGI rules (RFC 3875), with the headers,
//! a blank line and the body on stdout.

#include <stdio.h>

int main(void) {
    fputs("Content-Type: text/plain\n\nhello from C\n", stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
