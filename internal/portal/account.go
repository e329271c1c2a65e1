// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/index"
	"cityid/internal/office"
	"cityid/internal/web"
	"cityid/keys"
)

// Signing in shows that a visitor holds a key, and no more: what the key may do
// follows from the policies in which it stands. The key signs
// [cityid.SignInDigest] of the portal's origin and a fresh challenge, so what is
// signed for one portal is worth nothing at another, and is no transaction.

// maxReply bounds what scripts post, in octets.
const maxReply = 64 << 10

// session is a visitor's stay, or a signed-in person's.
type session struct {
	token string
	office.Session
	holdings []index.Holding // where the key stands now
}

// cookieName is the name of the cookie with the session's token. The prefix
// makes browsers refuse it from anything but this host over TLS.
func (p *portal) cookieName() string {
	if p.secure {
		return "__Host-cityid"
	}
	return "cityid-session"
}

// loadSession finds the session of a request. A missing, ended or foreign one is
// none.
func (pg *page) loadSession(r *http.Request) error {
	if pg.Office == nil {
		return nil
	}
	c, err := r.Cookie(pg.cookieName())
	if err != nil {
		return nil
	}
	s, err := pg.Office.Session(r.Context(), c.Value)
	if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
		return nil
	}
	if err != nil {
		return err
	}
	pg.session = &session{token: c.Value, Session: s}
	if s.Key != "" {
		pg.session.holdings, err = pg.Index.Holdings(r.Context(), s.Key)
	}
	return err
}

// begin returns the visitor's session, and begins one if there is none.
func (pg *page) begin(w http.ResponseWriter, r *http.Request) (*session, error) {
	if pg.session != nil {
		return pg.session, nil
	}
	if pg.Office == nil {
		return nil, errNoOffice
	}
	token, err := pg.Office.NewSession(r.Context(), "")
	if err != nil {
		return nil, err
	}
	pg.setSession(w, token)
	s, err := pg.Office.Session(r.Context(), token)
	pg.session = &session{token: token, Session: s}
	return pg.session, err
}

var errNoOffice = cityid.Errorf(cityid.ErrUnsupported, "this portal only shows the registry: apply and sign at an institution's portal")

func (p *portal) setSession(w http.ResponseWriter, token string) {
	c := &http.Cookie{Name: p.cookieName(), Value: token, Path: "/", HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteLaxMode}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// Key returns the key that the visitor has signed in with, or "".
func (pg *page) Key() cityid.PublicKey {
	if pg.session == nil {
		return ""
	}
	return pg.session.Key
}

// Fingerprint returns the form of a key that people compare.
func (pg *page) Fingerprint(k cityid.PublicKey) string { return describe.Fingerprint(k) }

// Holdings lists the policies in which the visitor's key stands now.
func (pg *page) Holdings() []index.Holding {
	if pg.session == nil {
		return nil
	}
	return pg.session.holdings
}

// controls reports whether the visitor's key has a role in the policy of a code
// itself.
func (pg *page) controls(code cityid.Code, roles cityid.Roles) bool {
	return slices.ContainsFunc(pg.Holdings(), func(h index.Holding) bool { return h.Code == code && h.Roles&roles != 0 })
}

// errSignIn sends a visitor to sign in.
var errSignIn = errors.New("sign in first")

// signedIn puts around e that the visitor has signed in; others are asked to.
// What e writes is private.
func (p *portal) signedIn(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request, pg *page) error {
		if pg.Office == nil {
			return errNoOffice
		}
		pg.Private = true
		if pg.Key() == "" {
			next := r.URL.RequestURI()
			if r.Method != http.MethodGet {
				next = pg.URL("/")
			}
			http.Redirect(w, r, pg.URL("/sign-in?next=", url.QueryEscape(next)), http.StatusSeeOther)
			return nil
		}
		return e(w, r, pg)
	}
}

// localPath returns a path on this host to go on to, or otherwise: nobody can
// make a link here that ends elsewhere.
func localPath(next, otherwise string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return otherwise
	}
	return next
}

// signInData is what the page for signing in shows.
type signInData struct {
	Next     string
	RPID     string
	TestKeys []TestKey
	Command  string // for a key elsewhere
	Digest   string // of Command's challenge
	Code     string // challenge as typed
}

// signInPage offers the ways to sign in.
func (p *portal) signInPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	if p.Office == nil {
		return errNoOffice
	}
	_, code, err := pg.challenge(w, r, "sign-in")
	if err != nil {
		return err
	}
	data := &signInData{
		Next: localPath(r.URL.Query().Get("next"), pg.URL("/account")), RPID: p.rpID(), TestKeys: p.testKeys(), Code: code,
		Command: "cityid key sign-in " + p.Origin + " " + code + " --key NAME",
	}
	pg.Title = pg.T("account.signin.title")
	return pg.render(w, r, http.StatusOK, "account_signin", data)
}

// challenge begins a session where there is none, and returns it with a fresh
// challenge for purpose in base64url.
func (pg *page) challenge(w http.ResponseWriter, r *http.Request, purpose string) (*session, string, error) {
	pg.Private = true
	if err := pg.Limits.Visit(r); err != nil {
		return nil, "", err
	}
	s, err := pg.begin(w, r)
	if err != nil {
		return nil, "", err
	}
	c, err := pg.Office.NewChallenge(r.Context(), s.token, purpose)
	if err != nil {
		return nil, "", err
	}
	return s, base64.RawURLEncoding.EncodeToString(c[:]), nil
}

// reply is what a script posts after something was signed in the browser: by a
// passkey, or by a key whose signature it made itself.
type reply struct {
	Challenge         string           `json:"challenge,omitempty"`
	Key               cityid.PublicKey `json:"key,omitempty"`
	Signature         cityid.Bytes     `json:"signature"`
	Credential        cityid.Bytes     `json:"credential,omitempty"`
	AuthenticatorData cityid.Bytes     `json:"authenticatorData,omitempty"`
	ClientData        cityid.Bytes     `json:"clientData,omitempty"`
	Next              string           `json:"next,omitempty"`
}

// readJSON decodes a script's post strictly.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	if mt, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); mt != web.JSONType {
		return web.Refuse(http.StatusUnsupportedMediaType, cityid.ErrUnsupported, "want %s", web.JSONType)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "request: %v", err)
	}
	if d.More() {
		return cityid.Errorf(cityid.ErrMalformed, "request: something follows the object")
	}
	return nil
}

// signature returns who signed a digest, and the signature in the form of
// package keys; it has been verified.
func (pg *page) signature(x *reply, digest cityid.Digest) (cityid.KeySignature, error) {
	out := cityid.KeySignature{Key: x.Key, Signature: x.Signature}
	if len(x.Credential) > 0 {
		known, err := pg.Office.PasskeyByCredential(pg.ctx, x.Credential)
		if errors.Is(err, office.ErrNotFound) {
			return out, cityid.Errorf(cityid.ErrNotFound, "this passkey was not made at this portal")
		}
		if err != nil {
			return out, err
		}
		out.Key = known.Key
		if out.Signature, err = keys.WebAuthnSignature(x.AuthenticatorData, x.ClientData, x.Signature); err != nil {
			return out, cityid.Errorf(cityid.ErrSignature, "%v", err)
		}
	}
	if err := keys.Verify([]byte(out.Key), digest[:], out.Signature); err != nil {
		return out, cityid.Errorf(cityid.ErrSignature, "%v", err)
	}
	if len(x.Credential) > 0 {
		if err := pg.Office.TouchPasskey(pg.ctx, x.Credential); err != nil && !errors.Is(err, office.ErrNotFound) {
			return out, err
		}
	}
	return out, nil
}

// signIn takes the answer to a challenge, and begins a new session for the key.
func (p *portal) signIn(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	if p.Office == nil {
		return errNoOffice
	}
	if err := pg.Limits.Attempt(r); err != nil {
		return err
	}
	var x reply
	script := strings.HasPrefix(r.Header.Get("Content-Type"), web.JSONType)
	if script {
		if err := readJSON(w, r, maxReply, &x); err != nil {
			return err
		}
	} else if err := parseSignInForm(r, &x); err != nil {
		return err
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(x.Challenge)
	if err != nil || pg.session == nil {
		return errChallenge
	}
	if err := p.Office.UseChallenge(r.Context(), pg.session.token, "sign-in", challenge); err != nil {
		if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
			return errChallenge
		}
		return err
	}
	sig, err := pg.signature(&x, cityid.SignInDigest(p.Origin, challenge))
	if err != nil {
		return err
	}
	token, err := p.Office.Rotate(r.Context(), pg.session.token, sig.Key)
	if err != nil {
		return err
	}
	p.setSession(w, token)
	next := localPath(x.Next, pg.URL("/account"))
	if script {
		return pg.json(w, r, map[string]string{"next": next})
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

var errChallenge = cityid.Errorf(cityid.ErrExpired, "the request to sign in has expired: load the page again")

// parseSignInForm reads what "cityid key sign-in" has written.
func parseSignInForm(r *http.Request, x *reply) error {
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	x.Challenge, x.Next = r.PostForm.Get("challenge"), r.PostForm.Get("next")
	key, signature, ok := strings.Cut(strings.TrimSpace(r.PostForm.Get("answer")), " ")
	if !ok {
		return cityid.Errorf(cityid.ErrMalformed, "want the line that the command has written")
	}
	if err := x.Key.UnmarshalText([]byte(key)); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if err := x.Signature.UnmarshalText([]byte(strings.TrimSpace(signature))); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "signature: %v", err)
	}
	return nil
}

// signOut ends the session.
func (p *portal) signOut(w http.ResponseWriter, r *http.Request, pg *page) error {
	if pg.session != nil {
		if err := p.Office.EndSession(r.Context(), pg.session.token); err != nil && !errors.Is(err, office.ErrNotFound) {
			return err
		}
		p.setSession(w, "")
	}
	http.Redirect(w, r, pg.URL("/"), http.StatusSeeOther)
	return nil
}

// json answers a script.
func (pg *page) json(w http.ResponseWriter, r *http.Request, v any) error {
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, r, http.StatusOK, v)
}

// rpID is the name passkeys of this portal are bound to: its host.
func (p *portal) rpID() string {
	u, err := url.Parse(p.Origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// accountData is what a signed-in person sees of themselves.
type accountData struct {
	Key      cityid.PublicKey
	Passkey  bool
	Holdings []holdingView
	Passkeys []office.Passkey
	Lonely   bool // no second credential elsewhere
	Open     []office.Signing
	RPID     string
}

type holdingView struct {
	place
	Roles string
}

// account shows who somebody is here and what their key may do.
func (p *portal) account(w http.ResponseWriter, r *http.Request, pg *page) error {
	data := &accountData{Key: pg.Key(), RPID: p.rpID(), Passkey: pg.Key().RPID() != ""}
	for _, h := range pg.Holdings() {
		at, err := pg.placeAt(h.Code)
		if err != nil {
			return err
		}
		data.Holdings = append(data.Holdings, holdingView{at, describe.Roles(pg.Lang, h.Roles)})
	}
	if known, err := p.Office.PasskeyByKey(r.Context(), pg.Key()); err == nil {
		if data.Passkeys, err = p.Office.PasskeysOf(r.Context(), known.Person); err != nil {
			return err
		}
	} else if !errors.Is(err, office.ErrNotFound) {
		return err
	}
	open, err := p.Office.SigningsOf(r.Context(), pg.Key())
	if err != nil {
		return err
	}
	for _, s := range open {
		if s.State == office.SigningOpen {
			data.Open = append(data.Open, s)
		}
	}
	if data.Lonely, err = pg.lonely(); err != nil {
		return err
	}
	pg.Title = pg.T("account.title")
	return pg.render(w, r, http.StatusOK, "account", data)
}

// lonely reports whether the visitor's key is a passkey, and somewhere stands
// for a member that no key of another host or kind can sign for: one lost
// device, or one lost site, and the member is mute.
func (pg *page) lonely() (bool, error) {
	host := pg.Key().RPID()
	if host == "" {
		return false, nil
	}
	for _, h := range pg.Holdings() {
		if h.Roles&cityid.RoleControl == 0 {
			continue
		}
		a, err := pg.Source.Record(pg.ctx, h.Code)
		if err != nil {
			return false, err
		}
		if a.Record.Policy == nil || h.Member >= len(a.Record.Policy.Members) {
			continue
		}
		now := cityid.TimeOf(a.AsOf.Time)
		other := slices.ContainsFunc(a.Record.Policy.Members[h.Member].Keys, func(k cityid.Key) bool {
			return k.Holds(cityid.RoleControl, now) && k.Public.RPID() != host
		})
		if !other {
			return true, nil
		}
	}
	return false, nil
}

// accountScreens are the pages for signing in and signing.
func (p *portal) accountScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /sign-in":              p.signInPage,
		"POST /sign-in":             p.signIn,
		"POST /sign-out":            p.signOut,
		"GET /account":              p.signedIn(p.account),
		"POST /passkeys/begin":      p.passkeyBegin,
		"POST /passkeys":            p.passkeyMade,
		"GET /passkeys/credential":  p.credentials,
		"POST /demo/keys/{name}":    p.testKey,
		"GET /sign/{id}":            p.signPage,
		"POST /sign/{id}/body":      p.signBody,
		"GET /sign/{id}/file":       p.signFile,
		"POST /sign/{id}/upload":    p.signUpload,
		"POST /sign/{id}/signature": p.signReply,
	}
}
