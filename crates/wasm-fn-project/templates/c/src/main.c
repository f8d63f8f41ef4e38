/* The function {{name}}: a program that answers by CGI rules (RFC 3875), with the headers, an empty line and
   the body on standard output. It runs once for each request. */

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const char *path = getenv("PATH_INFO");
    printf("Content-Type: text/plain\n\nhello from {{name}}, you asked for %s\n", path ? path : "/");
    return fflush(stdout) == 0 ? 0 : 1;
}
