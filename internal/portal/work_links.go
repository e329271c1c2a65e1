// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cityid"
)

// linkRelations are the relations the form offers; the record takes any.
var linkRelations = []string{"about", "describedby", "help", "license", "related", "search", "service-desc", "service-doc", "status"}

// workLinks is what the page of a code's links shows.
type workLinks struct {
	*workAt
	Form      workForm
	Relations []string
	Links     []linkView
	Hosts     []hostView // that links may use
	Preview   *linkPreview
}

type linkView struct {
	cityid.Link
	Host  string
	Index int
}

// hostView is an approved host and who approves it.
type hostView struct {
	Host string
	By   place
	Own  bool
}

// linkPreview is a link before it is added.
type linkPreview struct {
	cityid.Link
	Host     string
	Secure   bool
	Approver *place // whose list the host stands on; nil: nobody's
	Ask      place  // who would have to approve it
	MayAsk   bool
}

// linkLists lists the hosts that links of a record may use: those approved above
// it, or for an apex its own.
func (pg *page) linkHosts(at *workAt, below bool) ([]hostView, error) {
	var out []hostView
	add := func(rec *cityid.Record) {
		for _, h := range rec.Content.Hosts {
			by := pg.placeOf(rec)
			by.URL = pg.URL("/work/", rec.Code.String(), "/hosts")
			out = append(out, hostView{h, by, rec.Code == at.Code()})
		}
	}
	if below || at.Above == nil {
		add(at.Record)
	}
	var err error
	for x, n := at.Above, 0; x != nil && n < 32; n++ {
		add(x)
		if x, err = pg.above(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// approverOf returns the entry that covers a host, or nil.
func approverOf(hosts []hostView, host string) *hostView {
	for i := range hosts {
		if cityid.HostCovered([]string{hosts[i].Host}, host) {
			return &hosts[i]
		}
	}
	return nil
}

// linkFrom reads a link; nil if the form names none.
func (pg *page) linkFrom(f workForm) *cityid.Link {
	l := &cityid.Link{Rel: f.Text("link-rel"), Href: f.Text("link-href"), Title: f.Text("link-title"), Type: f.Text("link-type")}
	if l.Href == "" {
		if l.Title != "" {
			pg.refuseField("link-href", pg.T("work.link.none"))
		}
		return nil
	}
	if l.Rel == "" {
		l.Rel = "about"
	}
	if lang := f.Text("link-lang"); lang != "" {
		l.Hreflang = []string{lang}
	}
	if _, err := cityid.LinkHost(l.Href); err != nil {
		pg.refuseField("link-href", pg.T("work.link.bad"))
		return l
	}
	c := cityid.Content{Links: []cityid.Link{*l}}
	if err := c.Check(); err != nil {
		pg.refuseField("link-rel", pg.refusal(err))
	}
	return l
}

// allowedLink notes if a link of a new code below at may not be: its host stands
// on nobody's list.
func (pg *page) allowedLink(at *workAt, l *cityid.Link, code cityid.Code) {
	host, err := cityid.LinkHost(l.Href)
	if err != nil {
		return // was said
	}
	hosts, err := pg.linkHosts(at, true)
	if err != nil || approverOf(hosts, host) == nil {
		pg.refuseField("link-href", pg.T("work.link.foreign", host, at.Name))
	}
}

func (pg *page) linking(at *workAt, f workForm) (*workLinks, error) {
	data := &workLinks{workAt: at, Form: f, Relations: linkRelations}
	for i, l := range at.Record.Content.Links {
		host, err := cityid.LinkHost(l.Href)
		if err != nil {
			return nil, err
		}
		data.Links = append(data.Links, linkView{l, host, i})
	}
	var err error
	data.Hosts, err = pg.linkHosts(at, false)
	return data, err
}

func (p *portal) workLinks(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	data, err := pg.linking(at, workForm{url.Values{"revision": {fmtRevision(at.Record.Revision)}}})
	if err != nil {
		return err
	}
	return pg.showLinks(w, r, http.StatusOK, data)
}

func (pg *page) showLinks(w http.ResponseWriter, r *http.Request, status int, data *workLinks) error {
	data.Form.Set("revision", fmtRevision(data.Record.Revision))
	pg.Title = pg.T("work.links.title", data.Name)
	return pg.render(w, r, status, "work_links", data)
}

// workLinksSend removes a link, shows what a new one will look like, or adds it.
func (p *portal) workLinksSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	f := formOf(r)
	data, err := pg.linking(at, f)
	if err != nil {
		return err
	}
	if pg.stale(at, f) {
		return pg.showLinks(w, r, http.StatusConflict, data)
	}
	content := at.Record.Content
	if href := f.Get("remove"); href != "" {
		content.Links = slices.DeleteFunc(slices.Clone(content.Links), func(l cityid.Link) bool { return l.Rel+" "+l.Href == href })
		return pg.signAmend(w, r, at, content, at.URL+"/links", "")
	}
	l := pg.linkFrom(f)
	if l == nil && len(pg.Errors) == 0 {
		pg.refuseField("link-href", pg.T("work.link.none"))
	}
	if len(pg.Errors) > 0 {
		return pg.showLinks(w, r, http.StatusUnprocessableEntity, data)
	}
	if err := pg.previewLink(data, l); err != nil {
		return err
	}
	content.Links = append(slices.Clone(content.Links), *l)
	if err := content.Check(); err != nil {
		pg.refuseField("link-href", pg.refusal(err))
		return pg.showLinks(w, r, http.StatusUnprocessableEntity, data)
	}
	switch approved := data.Preview.Approver != nil; {
	case f.Get("action") == "add" && approved:
		return pg.signAmend(w, r, at, content, at.URL+"/links", f.Text("note"))
	case f.Get("action") == "ask" && !approved && at.Above != nil:
		return pg.askHost(w, r, at, data.Preview.Host, content)
	}
	return pg.showLinks(w, r, http.StatusOK, data)
}

// previewLink says what a link will look like, and who approves its host.
func (pg *page) previewLink(data *workLinks, l *cityid.Link) error {
	host, err := cityid.LinkHost(l.Href)
	if err != nil {
		return err
	}
	data.Preview = &linkPreview{Link: *l, Host: host, Secure: strings.HasPrefix(l.Href, "https://")}
	if h := approverOf(data.Hosts, host); h != nil {
		data.Preview.Approver = &h.By
	}
	asked := data.Above
	if asked == nil {
		asked = data.Record
	}
	data.Preview.Ask = pg.placeOf(asked)
	data.Preview.MayAsk = asked.Sealed.IsZero() && data.Above != nil
	return nil
}

// askHost proposes that the code above approves a host, together with the link
// that needs it: whoever decides sees both.
func (pg *page) askHost(w http.ResponseWriter, r *http.Request, at *workAt, host string, content cityid.Content) error {
	above := at.Above
	hosts := above.Content
	hosts.Hosts = withHost(hosts.Hosts, host)
	if err := hosts.Check(); err != nil {
		pg.refuseField("link-href", pg.refusal(err))
		data, err := pg.linking(at, formOf(r))
		if err != nil {
			return err
		}
		return pg.showLinks(w, r, http.StatusUnprocessableEntity, data)
	}
	ops, err := pg.decideAll([]cityid.Code{above.Code, at.Code()}, pg.T("work.link.ask.note", host, at.Code()),
		cityid.Operation{Amend: &cityid.Amend{Code: above.Code, Revision: above.Revision, Content: hosts}},
		cityid.Operation{Amend: &cityid.Amend{Code: at.Code(), Revision: at.Record.Revision, Content: content}})
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.link.ask.sign", host), at.URL, ops...)
}

// withHost adds a host to a list in order.
func withHost(hosts []string, host string) []string {
	out := append(slices.Clone(hosts), host)
	slices.Sort(out)
	return slices.Compact(out)
}

// workHosts shows the hosts a code approves for links of codes below it.
func (p *portal) workHosts(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	return pg.showHosts(w, r, http.StatusOK, at, workForm{url.Values{}})
}

func (pg *page) showHosts(w http.ResponseWriter, r *http.Request, status int, at *workAt, f workForm) error {
	data := &workLinks{workAt: at, Form: f}
	data.Form.Set("revision", fmtRevision(at.Record.Revision))
	var err error
	if data.Hosts, err = pg.linkHosts(at, true); err != nil {
		return err
	}
	pg.Title = pg.T("work.hosts.title", at.Name)
	return pg.render(w, r, status, "work_hosts", data)
}

func (p *portal) workHostsSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	f := formOf(r)
	if pg.stale(at, f) {
		return pg.showHosts(w, r, http.StatusConflict, at, f)
	}
	content := at.Record.Content
	if host := f.Get("remove"); host != "" {
		content.Hosts = slices.DeleteFunc(slices.Clone(content.Hosts), func(h string) bool { return h == host })
	} else {
		host := strings.ToLower(f.Text("host"))
		content.Hosts = withHost(content.Hosts, host)
		switch err := content.Check(); {
		case host == "":
			pg.refuseField("host", pg.T("work.host.none"))
		case slices.Contains(at.Record.Content.Hosts, host):
			pg.refuseField("host", pg.T("work.host.known", host))
		case err != nil:
			pg.refuseField("host", pg.T("work.host.bad"))
		}
		if len(pg.Errors) > 0 {
			return pg.showHosts(w, r, http.StatusUnprocessableEntity, at, f)
		}
	}
	return pg.signAmend(w, r, at, content, at.URL+"/hosts", f.Text("note"))
}
