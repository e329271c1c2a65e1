// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"

	"cityid"
	"cityid/internal/office"
	"cityid/keys"
)

// A passkey is made for this portal's host by the visitor's browser. Its public
// key then stands in a policy like any other: the portal keeps the credential's
// id, so that the browser can be asked for it, and never a secret.

// personBag is where a session keeps the user handle of passkeys made in it.
const personBag = "person"

// passkeyBegin answers with what navigator.credentials.create needs.
func (p *portal) passkeyBegin(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, challenge, err := pg.challenge(w, r, "passkey")
	if err != nil {
		return err
	}
	person, err := pg.person(s)
	if err != nil {
		return err
	}
	return pg.json(w, r, map[string]string{
		"challenge": challenge, "rpId": p.rpID(), "rpName": pg.PortalName(), "user": base64.RawURLEncoding.EncodeToString(person),
	})
}

// person returns the user handle of the visitor's passkeys.
func (pg *page) person(s *session) ([]byte, error) {
	if s.Key != "" {
		known, err := pg.Office.PasskeyByKey(pg.ctx, s.Key)
		if err == nil {
			return known.Person, nil
		}
		if !errors.Is(err, office.ErrNotFound) {
			return nil, err
		}
	}
	if person, err := base64.RawURLEncoding.DecodeString(s.Bag[personBag]); err == nil && len(person) > 0 {
		return person, nil
	}
	person := office.NewPerson()
	s.Bag[personBag] = base64.RawURLEncoding.EncodeToString(person)
	return person, pg.Office.SetBag(pg.ctx, s.token, s.Bag)
}

// passkeyPost is what a script posts after navigator.credentials.create.
type passkeyPost struct {
	Credential cityid.Bytes `json:"credential"`
	ClientData cityid.Bytes `json:"clientData"`
	PublicKey  cityid.Bytes `json:"publicKey"` // SubjectPublicKeyInfo
	Name       string       `json:"name"`
}

// passkeyMade keeps a passkey that the browser has made. That its holder can
// sign with it shows when it does, before it enters any policy.
func (p *portal) passkeyMade(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	if pg.session == nil {
		return errChallenge
	}
	var x passkeyPost
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	var client struct{ Type, Challenge, Origin string }
	if err := json.Unmarshal(x.ClientData, &client); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "client data: %v", err)
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(client.Challenge)
	if err != nil || client.Type != "webauthn.create" || subtle.ConstantTimeCompare([]byte(client.Origin), []byte(p.Origin)) != 1 {
		return cityid.Errorf(cityid.ErrSignature, "the passkey was made for %.80q, and this portal is %s: open the portal under that address", client.Origin, p.Origin)
	}
	if err := p.Office.UseChallenge(r.Context(), pg.session.token, "passkey", challenge); err != nil {
		if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
			return errChallenge
		}
		return err
	}
	key, err := keys.WebAuthnFromSPKI(x.PublicKey, p.rpID(), p.Origin)
	if err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	person, err := pg.person(pg.session)
	if err != nil {
		return err
	}
	if err := cityid.CheckText("the passkey's name", x.Name, false); err != nil {
		return err
	}
	public := cityid.PublicKey(key.Raw())
	err = p.Office.AddPasskey(r.Context(), office.Passkey{Credential: x.Credential, Key: public, Person: person, Name: x.Name, RPID: p.rpID()})
	if errors.Is(err, office.ErrConflict) || errors.Is(err, office.ErrTooLarge) || errors.Is(err, office.ErrInvalid) {
		return cityid.Errorf(cityid.ErrConflict, "%v", err)
	}
	if err != nil {
		return err
	}
	return pg.json(w, r, map[string]string{"key": public.String(), "fingerprint": key.Fingerprint()})
}

// credentials answers with the credential id behind a passkey's public key, for
// the browser to ask for just that one.
func (p *portal) credentials(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	if p.Office == nil {
		return errNoOffice
	}
	var key cityid.PublicKey
	if err := key.UnmarshalText([]byte(r.URL.Query().Get("key"))); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	out := map[string]string{"rpId": p.rpID(), "credential": ""}
	known, err := p.Office.PasskeyByKey(r.Context(), key)
	switch {
	case err == nil:
		out["credential"] = base64.RawURLEncoding.EncodeToString(known.Credential)
	case !errors.Is(err, office.ErrNotFound):
		return err
	}
	return pg.json(w, r, out)
}
