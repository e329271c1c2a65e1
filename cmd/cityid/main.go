// SPDX-License-Identifier: Apache-2.0

// Command cityid is the registry of city codes: the node that keeps it, the
// client that uses it, and the tools that check what it says.
//
// How the command speaks is written at the top of cli.go. There is one file
// for each noun.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	code := run(ctx, os.Args[1:], &terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}
