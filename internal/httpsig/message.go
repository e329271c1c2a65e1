// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Message is a request or a response as far as signatures look at it. A Message with a status is a response, any other a
// request. It borrows the headers that it is made with: [Profile.Sign] writes into them.
type Message struct {
	// Of a request.
	Method string
	Scheme string // "http" or "https", as the client used it
	Host   string // as sent: the Host field, or :authority
	Target string // the request target, octet for octet as it stands on the wire

	// Of a response.
	Status  int
	Request *Message // the request that it answers, for components with ";req"; nil if it is not at hand

	// Of both.
	Header     http.Header
	Trailer    http.Header     // for components with ";tr"
	Structured map[string]Kind // the fields, in lower case, that are structured, for components with ";sf"
}

// Kind is the type of a structured field (RFC 9651). The zero Kind is none of them.
type Kind int

// The types of structured fields.
const (
	Item Kind = 1 + iota
	List
	Dictionary
)

// RequestReceived returns the request that a server was sent. The path and the query are taken from the request line as it came,
// whatever a handler did to r.URL since. scheme is that of the URL the client used, "http" or "https"; behind a proxy that
// ends TLS only the configuration knows it. The header is r's own.
func RequestReceived(r *http.Request, scheme string) (*Message, error) {
	if r.RequestURI == "" {
		return nil, errors.New("the request has no request line: it was not received by a server")
	}
	if scheme != "http" && scheme != "https" {
		return nil, fmt.Errorf("scheme %q: it must be http or https", scheme)
	}
	return &Message{Method: r.Method, Scheme: scheme, Host: r.Host, Target: r.RequestURI, Header: r.Header, Trailer: r.Trailer}, nil
}

// RequestToSend returns a request that is about to be sent with package net/http. The header is r's own, made if there is none.
// Whoever sends it must not follow redirects, since a signature is for one URL, and should ask for Accept-Encoding
// identity, or net/http unpacks the answer and its digest can not be checked.
func RequestToSend(r *http.Request) (*Message, error) {
	if r.RequestURI != "" || r.URL == nil {
		return nil, errors.New("the request has no URL to be sent to: it was received by a server")
	}
	scheme := strings.ToLower(r.URL.Scheme)
	if scheme != "http" && scheme != "https" || r.URL.Opaque != "" {
		return nil, fmt.Errorf("URL %.80q: it must begin with http:// or https://", r.URL.String())
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	m := &Message{Method: r.Method, Scheme: scheme, Host: r.Host, Target: r.URL.RequestURI(), Header: r.Header, Trailer: r.Trailer}
	if m.Method == "" {
		m.Method = http.MethodGet
	}
	if m.Host == "" {
		m.Host = r.URL.Host
	}
	return m, nil
}

// ResponseToSend returns the response with the given status and header to a request, for a server to sign before it writes them.
// What net/http would add by itself is not yet in the header, so whatever is to be signed, such as Content-Type, must be.
func ResponseToSend(status int, header http.Header, request *Message) *Message {
	return &Message{Status: status, Request: request, Header: header}
}

// ResponseReceived returns the response that a client received to a request, which it has from [RequestToSend]. A body that
// net/http has unpacked is an error, which matches [ErrMalformed], because its digest can not be checked.
func ResponseReceived(r *http.Response, request *Message) (*Message, error) {
	if r.Uncompressed {
		return nil, fmt.Errorf("%w: the answer was compressed; ask with Accept-Encoding: identity", ErrMalformed)
	}
	return &Message{Status: r.StatusCode, Request: request, Header: r.Header, Trailer: r.Trailer}, nil
}

// split takes the request target apart. The path of CONNECT and of the target "*" can not be told.
func (m *Message) split() (path, query string, hasQuery bool, err error) {
	rest := m.Target
	if _, after, ok := strings.Cut(rest, "://"); ok && rest[0] != '/' { // absolute form
		rest = "/"
		if i := strings.IndexAny(after, "/?"); i >= 0 && after[i] == '/' {
			rest = after[i:]
		} else if i >= 0 {
			rest = "/" + after[i:]
		}
	}
	if rest == "" || rest[0] != '/' || m.Method == http.MethodConnect {
		return "", "", false, fmt.Errorf("the request target %.80q has no path", m.Target)
	}
	path, query, hasQuery = strings.Cut(rest, "?")
	return path, query, hasQuery, nil
}

// authority returns the host and port in normal form: lower case, without the scheme's own port.
func (m *Message) authority() (string, error) {
	a := strings.ToLower(m.Host)
	switch m.Scheme {
	case "http":
		a = strings.TrimSuffix(a, ":80")
	case "https":
		a = strings.TrimSuffix(a, ":443")
	default:
		return "", fmt.Errorf("scheme %q: it must be http or https", m.Scheme)
	}
	a = strings.TrimSuffix(a, ":")
	if a == "" {
		return "", errors.New("the request names no host")
	}
	return a, nil
}
