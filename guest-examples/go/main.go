// A function in Go: a plain program that answers by CGI rules (RFC 3875), with the headers, an empty line
// and the body on standard output.
package main

import "fmt"

func main() {
	fmt.Print("Content-Type: text/plain\n\nhello from Go\n")
}
