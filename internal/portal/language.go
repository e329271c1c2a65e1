// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// Languages are the languages of the pages, the default first.
var languages = []string{"zh", "en"}

var languageMatcher = language.NewMatcher([]language.Tag{language.Chinese, language.English})

//go:embed text/*.json
var textFiles embed.FS

// catalogue holds the texts of one language by key. A text may hold the
// placeholders {0} to {9}.
type catalogue map[string]string

// loadCatalogues reads text/TOPIC.LANG.json for every language. A key stands in
// one topic only, whose name it begins with.
func loadCatalogues() (map[string]catalogue, error) {
	out := map[string]catalogue{}
	for _, lang := range languages {
		out[lang] = catalogue{}
	}
	files, err := fs.Glob(textFiles, "text/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		topic, lang, ok := strings.Cut(strings.TrimSuffix(path.Base(name), ".json"), ".")
		c := out[lang]
		if !ok || c == nil {
			return nil, fmt.Errorf("%s: want TOPIC.LANG.json", name)
		}
		b, err := textFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var texts map[string]string
		if err := json.Unmarshal(b, &texts); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for key, text := range texts {
			if !strings.HasPrefix(key, topic+".") {
				return nil, fmt.Errorf("%s: key %s does not begin with %s.", name, key, topic)
			}
			c[key] = text
		}
	}
	return out, nil
}

// text returns the text of a key with its placeholders filled. A key without a
// text is shown as it is, which tests look for.
func (c catalogue) text(key string, args ...any) string {
	s, ok := c[key]
	if !ok {
		return "⟦" + key + "⟧"
	}
	if len(args) == 0 {
		return s
	}
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", fmt.Sprint(a))
	}
	return strings.NewReplacer(pairs...).Replace(s) // what an argument holds is no placeholder
}

// languageOf returns the language in which to greet a visitor whose address
// names none: that of the last visit, or the browser's.
func languageOf(r *http.Request) string {
	if c, err := r.Cookie(languageCookie); err == nil {
		for _, l := range languages {
			if c.Value == l {
				return l
			}
		}
	}
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil || len(tags) == 0 {
		return languages[0]
	}
	_, i, confidence := languageMatcher.Match(tags...)
	if confidence == language.No {
		return "en"
	}
	return languages[i]
}

const languageCookie = "cityid-lang"

// rememberLanguage notes the language of a visit for the next.
func rememberLanguage(w http.ResponseWriter, r *http.Request, lang string, secure bool) {
	if c, err := r.Cookie(languageCookie); err == nil && c.Value == lang {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: languageCookie, Value: lang, Path: "/", MaxAge: 365 * 86400,
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode,
	})
}

// grouped writes a number with a comma after every three digits.
func grouped[N ~int | ~int64 | ~uint64 | ~uint32 | ~int32](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// moment writes a time for people: to the minute, in the portal's time zone.
func moment(t time.Time, lang string) string {
	if t.IsZero() {
		return ""
	}
	if lang == "zh" {
		return t.In(beijing).Format("2006年1月2日 15:04")
	}
	return t.In(beijing).Format("2 Jan 2006, 15:04")
}

// day writes a date for people.
func day(t time.Time, lang string) string {
	if t.IsZero() {
		return ""
	}
	if lang == "zh" {
		return t.In(beijing).Format("2006年1月2日")
	}
	return t.In(beijing).Format("2 January 2006")
}

// beijing is the time zone of all times shown. China has one, without summer
// time since 1991; the zone database may be missing where the program runs.
var beijing = time.FixedZone("UTC+8", 8*3600)
