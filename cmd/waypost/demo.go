package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/waypost/waypost/testdata/demo"
)

// demoPort is what the demo listens on: no rights are needed for it.
const demoPort = 1053

// demoCorefile is served over a copy of the demo's cluster: its port, and the folder.
const demoCorefile = `cluster.local:%[1]d in-addr.arpa:%[1]d ip6.arpa:%[1]d {
    bind 127.0.0.1
    errors
    log
    kubernetes {
        manifests %[2]s
        pods verified
    }
    loadbalance
}
`

// demoHint is what the demo prints once it serves: its port, and the folder.
const demoHint = `
A cluster of a few Services is being served. Try, in another terminal:

    dig @127.0.0.1 -p %[1]d web.default.svc.cluster.local
    dig @127.0.0.1 -p %[1]d _http._tcp.web.default.svc.cluster.local SRV
    dig @127.0.0.1 -p %[1]d +tcp web-0.myapp.default.svc.cluster.local

It is described by the files in %[2]s: change one, and ask again.

`

// runDemo serves the demo's cluster until a signal ends it. It takes the same flags, but -conf.
func runDemo(args []string) int {
	o, err := parseFlags(args, demoPort, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.wrong != nil:
		return o.fail(o.wrong)
	case len(o.extra) > 0 || o.conf != "":
		return o.fail(errors.New("the demo has its own Corefile: waypost demo takes no -conf and no arguments"))
	}
	folder, err := copyDemo()
	if err != nil {
		return o.fail(fmt.Errorf("copy the demo's cluster: %w", err))
	}
	defer func() { _ = os.RemoveAll(folder) }()
	source := fixed("demo", fmt.Appendf(nil, demoCorefile, o.port, folder), o.port)
	return serve(o, source, fmt.Sprintf(demoHint, o.port, folder))
}

// copyDemo writes the demo's manifests to a new folder.
func copyDemo() (string, error) {
	folder, err := os.MkdirTemp("", "waypost-demo-")
	if err != nil {
		return "", err
	}
	return folder, os.CopyFS(folder, demo.Files)
}
