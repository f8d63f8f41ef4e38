// The function {{name}}: a program that answers by CGI rules (RFC 3875). It runs once for each request.
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/http/cgi"
)

func handle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "hello from {{name}}, you asked for %s\n", r.URL.Path)
}

func main() {
	if err := cgi.Serve(http.HandlerFunc(handle)); err != nil {
		log.Fatal(err)
	}
}
