// SPDX-License-Identifier: Apache-2.0

package main

// A real browser in front of a real demo. Each tab is a person with a device of
// their own: cookies apart from the others', and an authenticator for passkeys.
// Whatever a page does against its own security policy, any request to another
// machine, and every error of a script fails the test.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take for what a test waits for. It is no
// measure of speed: only a page that never gets there reaches it.
const patience = 30 * time.Second

// chromium returns the browser's program. Without one the test is skipped,
// except where CI promises one.
func chromium(t testing.TB) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no chromium; scripts/test installs it")
	}
	t.Skip("there is no chromium to test the pages with")
	return ""
}

// runningDemo is a demo that answers.
type runningDemo struct {
	folder string
	url    string // http://localhost:PORT
	port   string
}

// at returns the address of an institution's pages.
func (d *runningDemo) at(host string) string { return "http://" + host + ":" + d.port }

// startDemo runs the demo in this process until the test ends.
func startDemo(t testing.TB) *runningDemo {
	t.Helper()
	d := &runningDemo{folder: filepath.Join(t.TempDir(), "demo")}
	ctx, stop := context.WithCancel(context.Background())
	var talk lockedBuffer
	out, done := &lineWriter{want: "Answering at ", found: make(chan string, 1)}, make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"demo", "--data", d.folder, "--listen", "127.0.0.1:0"}, &terminal{out: out, err: &talk})
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != exitDone && code != exitInterrupted {
			t.Errorf("the demo ended with %d\n%s", code, talk.String())
		}
	})
	select {
	case line := <-out.found:
		d.url = strings.Fields(line)[2]
	case code := <-done:
		done <- code
		t.Fatalf("the demo ended with %d\n%s", code, talk.String())
	case <-time.After(3 * time.Minute):
		t.Fatal("the demo does not answer")
	}
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	d.port = u.Port()
	return d
}

// lineWriter finds the line that begins with what is wanted.
type lineWriter struct {
	want  string
	found chan string
	mu    sync.Mutex
	rest  []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if line := string(w.rest[:i]); strings.HasPrefix(line, w.want) {
			w.found <- line
		}
		w.rest = w.rest[i+1:]
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// browser is one running browser.
type browser struct {
	t   testing.TB
	ctx context.Context
}

// startBrowser starts a browser. flags are passed on, each as NAME=VALUE.
func startBrowser(t testing.TB, flags ...string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true), chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.WindowSize(1280, 900), chromedp.UserDataDir(t.TempDir()))
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		options = append(options, chromedp.Flag(name, value))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("end the browser: %v", err)
		}
		end()
		stop()
	})
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return &browser{t, ctx}
}

// tab is a person in front of a device.
type tab struct {
	testing.TB
	ctx  context.Context
	name string

	mu       sync.Mutex
	problems []string
	received float64 // octets since the last visit
}

// tab opens a tab with cookies of its own, and an authenticator that answers for
// its owner at once.
func (b *browser) tab(name string) *tab {
	b.t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(end)
	t := &tab{TB: b.t, ctx: ctx, name: name}
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		b.t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, t.hear); err != nil {
		b.t.Fatal(err)
	}
	call(t, cdpruntime.Enable, cdp.Empty{})
	call(t, cdplog.Enable, cdp.Empty{})
	call(t, network.Enable, network.EnableParams{})
	call(t, page.Enable, page.EnableParams{})
	call(t, cdpruntime.AddBinding, cdpruntime.AddBindingParams{Name: "reportViolation"})
	call(t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener("securitypolicyviolation", (e) => reportViolation(e.effectiveDirective + " " + e.blockedURI + " " + (e.sourceFile || "")));`,
	})
	call(t, webauthn.Enable, webauthn.EnableParams{})
	yes := true
	call(t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: yes, HasUserVerification: yes, IsUserVerified: yes, AutomaticPresenceSimulation: yes,
	}})
	b.t.Cleanup(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, p := range t.problems {
			b.t.Errorf("%s: %s", name, p)
		}
	})
	return t
}

// call sends a command of the protocol.
func call[P, R any](t *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	r, err := chromedp.Call(t.ctx, command, params)
	if err != nil {
		t.Fatalf("%s: %s: %v", t.name, command.Method, err)
	}
	return r
}

// hear takes note of what a page should not do.
func (t *tab) hear(event any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := event.(type) {
	case *cdpruntime.EventBindingCalled:
		t.problems = append(t.problems, "violates its content security policy: "+e.Payload)
	case *cdpruntime.EventExceptionThrown:
		t.problems = append(t.problems, "a script threw: "+e.ExceptionDetails.Text+" "+fmt.Sprint(e.ExceptionDetails.Exception))
	case *cdplog.EventEntryAdded:
		if e.Entry.Source == cdplog.EntrySourceSecurity {
			t.problems = append(t.problems, "security: "+e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && strings.HasPrefix(u.Scheme, "http") && u.Hostname() != "localhost" && !strings.HasSuffix(u.Hostname(), ".localhost") {
			t.problems = append(t.problems, "asks another machine: "+e.Request.URL)
		}
	case *network.EventLoadingFinished:
		t.received += e.EncodedDataLength
	}
}

// do runs a step, within patience.
func do[T any](t *tab, what string, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		where, _ := chromedp.Run(t.ctx, chromedp.Location())
		text, _ := chromedp.Run(t.ctx, chromedp.Evaluate[string](`document.querySelector("main")?.innerText ?? document.body?.innerText ?? ""`))
		t.Fatalf("%s: %s at %s: %v\n%.3000s", t.name, what, where, err, text)
	}
	return v
}

// open goes to an address.
func (t *tab) open(address string) {
	t.Helper()
	t.mu.Lock()
	t.received = 0
	t.mu.Unlock()
	do(t, "open "+address, chromedp.Navigate(address))
}

// transferred returns the octets received since the last visit began.
func (t *tab) transferred() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.received
}

// eval evaluates an expression, and waits for it if it is a promise.
func eval[T any](t *tab, expression string) T {
	t.Helper()
	return do(t, "evaluate "+expression, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// wait waits until an expression is true, also across pages.
func (t *tab) wait(expression string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, err := chromedp.Run(t.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			do(t, "wait until "+expression, chromedp.Func(func(context.Context, *chromedp.Target) error { return fmt.Errorf("it never was (%v)", err) }))
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// has waits until the page's text holds a text.
func (t *tab) has(text string) {
	t.Helper()
	t.wait(`document.readyState == "complete" && document.body.innerText.includes(` + quote(text) + `)`)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

// click clicks what a selector finds, once it can be clicked.
func (t *tab) click(selector string) {
	t.Helper()
	t.wait(`(() => { const e = document.querySelector(` + quote(selector) + `); return document.readyState == "complete" && e && !e.disabled && e.checkVisibility(); })()`)
	do(t, "click "+selector, chromedp.Click(selector))
}

// follow clicks the link or button with a text.
func (t *tab) follow(text string) {
	t.Helper()
	find := `[...document.querySelectorAll("a, button, summary")].find((e) => e.checkVisibility() && !e.disabled && (e.innerText ?? "").trim().startsWith(` + quote(text) + `))`
	t.wait(`document.readyState == "complete" && ` + find)
	do(t, "follow "+text, chromedp.Evaluate[chromedp.Void](find+`.click()`))
}

// fill types a text into a field, in place of what is there.
func (t *tab) fill(selector, text string) {
	t.Helper()
	t.wait(`document.querySelector(` + quote(selector) + `)`)
	do(t, "fill "+selector, chromedp.Evaluate[chromedp.Void](`(() => { const e = document.querySelector(`+quote(selector)+`); e.focus(); e.value = `+quote(text)+`; e.dispatchEvent(new Event("input", { bubbles: true })); e.dispatchEvent(new Event("change", { bubbles: true })); })()`))
}

// upload chooses files.
func (t *tab) upload(selector string, files ...string) {
	t.Helper()
	do(t, "upload to "+selector, chromedp.SetUploadFiles(selector, files))
}

// submit sends the form that a selector finds.
func (t *tab) submit(selector string) {
	t.Helper()
	do(t, "submit "+selector, chromedp.Evaluate[chromedp.Void](`document.querySelector(`+quote(selector)+`).requestSubmit()`))
}

// viewport sets the size of the window.
func (t *tab) viewport(width, height int64) {
	t.Helper()
	do(t, "set the viewport", chromedp.EmulateViewport(width, height))
}

// scripts turns scripts on or off.
func (t *tab) scripts(on bool) {
	t.Helper()
	call(t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// signInWith signs in with a test key of the demo.
func (t *tab) signInWith(origin, lang, key string) {
	t.Helper()
	t.open(origin + "/" + lang + "/sign-in")
	t.fill("#test-key", key)
	t.click(`button[data-from="test-key"]`)
	t.wait(`location.pathname == "/` + lang + `/account"`)
}

// save saves what an expression fetches, as the browser would a download.
func (t *tab) save(expression, path string) string {
	t.Helper()
	text := eval[string](t, expression+`.then((r) => r.headers.get("Content-Disposition").startsWith("attachment") ? r.text() : "")`)
	if text == "" {
		t.Fatalf("%s: %s is no download", t.name, expression)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
