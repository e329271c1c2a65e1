// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// configFile is the configuration of a node, in its folder.
const configFile = "node.json"

// maxConfig bounds a configuration in octets.
const maxConfig = 1 << 20

// nodeConfig is the configuration file of a node: a JSON object. Each field is a
// flag of node start, whose meaning and default it has. What is not given is at
// its default; an environment variable overrides the file, and a flag both.
//
// Names of files are taken relative to the file's folder; so are keys that are
// given as a path.
type nodeConfig struct {
	Listen  *string `json:"listen,omitempty" flag:"listen"`
	TLSCert *string `json:"tls_cert,omitempty" flag:"tls-cert" is:"file"`
	TLSKey  *string `json:"tls_key,omitempty" flag:"tls-key" is:"file"`

	P2PListen   *string  `json:"p2p_listen,omitempty" flag:"p2p-listen"`
	P2PExternal *string  `json:"p2p_external,omitempty" flag:"p2p-external"`
	Peers       []string `json:"peers,omitempty" flag:"peer"`
	P2PClosed   *bool    `json:"p2p_closed,omitempty" flag:"p2p-closed"`
	Allowed     []string `json:"allowed,omitempty" flag:"allow"`
	Heartbeat   *string  `json:"heartbeat,omitempty" flag:"heartbeat"`
	Snapshots   *int     `json:"snapshots,omitempty" flag:"snapshots"`
	KeepBlocks  *int     `json:"keep_blocks,omitempty" flag:"keep-blocks"`
	FastFrom    []string `json:"fast_from,omitempty" flag:"fast-from"`
	FastTrust   *string  `json:"fast_trust,omitempty" flag:"fast-trust" is:"file"`

	Upstreams          []string `json:"upstreams,omitempty" flag:"upstream"`
	CheckpointInterval *string  `json:"checkpoint_interval,omitempty" flag:"checkpoint-interval"`

	NoPages   *bool    `json:"no_pages,omitempty" flag:"no-pages"`
	NoIndex   *bool    `json:"no_index,omitempty" flag:"no-index"`
	Origin    *string  `json:"origin,omitempty" flag:"origin"`
	PublicURL *string  `json:"public_url,omitempty" flag:"public-url"`
	BaseMap   *string  `json:"base_map,omitempty" flag:"base-map" is:"file"`
	SiteNames []string `json:"site_names,omitempty" flag:"site-name"`

	Member         *string  `json:"member,omitempty" flag:"member"`
	EvidenceKey    *string  `json:"evidence_key,omitempty" flag:"evidence-key" is:"key"`
	IntakeKey      *string  `json:"intake_key,omitempty" flag:"intake-key" is:"key"`
	PurposeKeys    []string `json:"purpose_keys,omitempty" flag:"purpose-key" is:"key"`
	PassphraseFile *string  `json:"passphrase_file,omitempty" flag:"passphrase-file" is:"file" env:"CITYID_PASSPHRASE_FILE"`
	DeliverTo      *string  `json:"deliver_to,omitempty" flag:"deliver-to"`
	Gateways       []string `json:"gateways,omitempty" flag:"gateway"`

	NoCatalogue        *bool   `json:"no_catalogue,omitempty" flag:"no-catalogue"`
	PrivateGateways    *bool   `json:"private_gateways,omitempty" flag:"private-gateways"`
	GatewayAuthorities *string `json:"gateway_authorities,omitempty" flag:"gateway-authorities" is:"file"`

	WritesPerSecond *int    `json:"writes_per_second,omitempty" flag:"writes-per-second"`
	Streams         *int    `json:"streams,omitempty" flag:"streams"`
	TrustedProxies  *string `json:"trusted_proxies,omitempty" flag:"trusted-proxies"`
	AdminListen     *string `json:"admin_listen,omitempty" flag:"admin-listen"`
	LogLevel        *string `json:"log_level,omitempty" flag:"log-level"`
	LogJSON         *bool   `json:"log_json,omitempty" flag:"log-json"`
}

// environmentPrefix begins the names of the variables that override settings.
const environmentPrefix = "CITYID_NODE_"

// configField is one field of nodeConfig.
type configField struct {
	name, flag, is, env string
	index               int
}

func configFields() []configField {
	var out []configField
	t := reflect.TypeFor[nodeConfig]()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		env := f.Tag.Get("env")
		if env == "" {
			env = environmentPrefix + strings.ToUpper(name)
		}
		out = append(out, configField{name: name, flag: f.Tag.Get("flag"), is: f.Tag.Get("is"), env: env, index: i})
	}
	return out
}

// fieldError is what is wrong in a configuration, and where.
func fieldError(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}

// parseNodeConfig parses a configuration, and returns the line on which each
// field stands.
func parseNodeConfig(b []byte) (*nodeConfig, map[string]int, error) {
	if len(b) > maxConfig {
		return nil, nil, fmt.Errorf("%d octets: at most %d", len(b), maxConfig)
	}
	if !utf8.Valid(b) {
		return nil, nil, errors.New("it is not UTF-8 text")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	at := func() int { return 1 + bytes.Count(b[:d.InputOffset()], []byte("\n")) }
	fail := func(err error) error {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return fieldError(1+bytes.Count(b[:min(int64(len(b)), syntax.Offset)], []byte("\n")), "%w", err)
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return fieldError(at(), "it ends in the middle")
		}
		return fieldError(at(), "%w", err)
	}
	c, lines := new(nodeConfig), map[string]int{}
	open, err := d.Token()
	if err != nil {
		return nil, nil, fail(err)
	}
	if open != json.Delim('{') {
		return nil, nil, fieldError(at(), `want a JSON object, such as {"listen": "127.0.0.1:8080"}`)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, fail(err)
		}
		name, _ := token.(string)
		line := at()
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, fail(err)
		}
		if lines[name] > 0 {
			return nil, nil, fieldError(line, "field %q stands twice, first on line %d", name, lines[name])
		}
		lines[name] = line
		if err := c.set(name, value); err != nil {
			return nil, nil, fieldError(line, "%w", err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, fieldError(at(), "something follows the JSON object")
	}
	return c, lines, nil
}

// set sets a field by its name.
func (c *nodeConfig) set(name string, value json.RawMessage) error {
	for _, f := range configFields() {
		if f.name != name {
			continue
		}
		to := reflect.ValueOf(c).Elem().Field(f.index)
		want := map[reflect.Type]string{
			reflect.TypeFor[*string](): "a text", reflect.TypeFor[*int](): "a whole number",
			reflect.TypeFor[*bool](): "true or false", reflect.TypeFor[[]string](): "a list of texts",
		}[to.Type()]
		if err := json.Unmarshal(value, to.Addr().Interface()); err != nil || to.IsNil() || holdsNull(value) {
			return fmt.Errorf("%s: want %s", name, want)
		}
		return nil
	}
	return fmt.Errorf("there is no field %q; docs/operating.md has them all", name)
}

// holdsNull reports whether a list of texts has an element that is none.
func holdsNull(value json.RawMessage) bool {
	var list []*string
	if json.Unmarshal(value, &list) != nil {
		return false
	}
	for _, x := range list {
		if x == nil {
			return true
		}
	}
	return false
}

// encode returns the file of a configuration.
func (c *nodeConfig) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(c)
	return b.Bytes(), err
}

// texts returns the values of a field as a flag takes them, and whether the field
// is given.
func (c *nodeConfig) texts(f configField) ([]string, bool) {
	v := reflect.ValueOf(c).Elem().Field(f.index)
	if v.IsNil() {
		return nil, false
	}
	switch x := v.Interface().(type) {
	case []string:
		return x, true
	case *string:
		return []string{*x}, true
	case *int:
		return []string{strconv.Itoa(*x)}, true
	case *bool:
		return []string{strconv.FormatBool(*x)}, true
	}
	return nil, false
}

// setting is a setting of a node as it is in the end.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
	flag   string
}

// applyConfig gives the flags that were not given on the command line the values
// of the environment, or else of the configuration in a file, and says where each
// setting comes from. Without a name it is the one in the node's folder, which
// need not be there.
func (f *flags) applyConfig(ctx context.Context, dir, path string) ([]setting, error) {
	c, lines := new(nodeConfig), map[string]int{}
	optional := path == ""
	if optional {
		path = filepath.Join(dir, configFile)
	}
	b, err := readBounded(ctx, path, maxConfig)
	switch {
	case err == nil:
		if c, lines, err = parseNodeConfig(b); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case !optional || !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f.unknownVariables()
	var out []setting
	for _, x := range configFields() {
		s := setting{Name: x.name, Origin: "default", flag: x.flag}
		texts, inFile := c.texts(x)
		env := os.Getenv(x.env)
		switch {
		case isSet(f.FlagSet, x.flag):
			s.Origin = "--" + x.flag
		case env != "":
			s.Origin = "environment " + x.env
			texts = []string{env}
			if _, many := f.Lookup(x.flag).Value.(*list); many {
				texts = strings.Split(env, ",")
			}
			if err := f.assign(x, texts, ""); err != nil {
				return nil, fmt.Errorf("environment variable %s: %w", x.env, err)
			}
		case inFile:
			s.Origin = fmt.Sprintf("%s line %d", path, lines[x.name])
			if err := f.assign(x, texts, filepath.Dir(path)); err != nil {
				return nil, fmt.Errorf("%s: line %d: %s: %w", path, lines[x.name], x.name, err)
			}
		}
		s.Value = f.Lookup(x.flag).Value.String()
		out = append(out, s)
	}
	return out, nil
}

// assign sets a flag. base is the folder of the file that the values come from; ""
// if they come from elsewhere.
func (f *flags) assign(x configField, texts []string, base string) error {
	for _, text := range texts {
		named := x.is == "file" || x.is == "key" && f.keyPath(text) == text
		if base != "" && named && text != "" && !filepath.IsAbs(text) {
			text = filepath.Join(base, text)
		}
		if err := f.Set(x.flag, text); err != nil {
			want := "another value"
			if g, ok := f.Lookup(x.flag).Value.(flag.Getter); ok {
				switch g.Get().(type) {
				case time.Duration:
					want = "a span of time such as 10s"
				case int:
					want = "a whole number"
				case bool:
					want = "true or false"
				}
			}
			return fmt.Errorf("%q: want %s", text, want)
		}
	}
	return nil
}

// unknownVariables warns of variables that look like settings and are none. It is
// no error: systems that start programs set variables of their own.
func (f *flags) unknownVariables() {
	known := map[string]bool{}
	for _, x := range configFields() {
		known[x.env] = true
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, environmentPrefix) && !known[name] {
			f.talk("warning: environment variable %s is no setting of a node, and changes nothing", name)
		}
	}
}

// explainSettings says where a wrong setting comes from, if not from the flag that
// the error names.
func explainSettings(err error, settings []setting) error {
	var usage usageError
	if err == nil || !errors.As(err, &usage) {
		return err
	}
	for _, s := range settings {
		if s.Origin != "default" && !strings.HasPrefix(s.Origin, "--") && (strings.Contains(err.Error(), "--"+s.flag+" ") || strings.Contains(err.Error(), "--"+s.flag+":")) {
			return hint(err, "%s comes from %s", s.Name, s.Origin)
		}
	}
	return err
}

func nodeShowConfig(f *flags) func(context.Context, []string) error {
	var n startFlags
	n.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the node's folder")
		}
		settings, err := f.applyConfig(ctx, args[0], n.config)
		if err != nil {
			return err
		}
		t := &table{head: []string{"setting", "value", "from"}}
		for _, s := range settings {
			t.add(s, s.Name, s.Value, s.Origin)
		}
		if err := f.print(t); err != nil {
			return err
		}
		_, err = f.logger(n.level, n.jsonLog)
		if err == nil {
			err = n.check(args[0])
		}
		return explainSettings(err, settings)
	}
}

// changeConfig changes the configuration in a node's folder, which may not be
// there yet, whole or not at all.
func changeConfig(ctx context.Context, dir string, change func(c *nodeConfig)) error {
	path := filepath.Join(dir, configFile)
	c := new(nodeConfig)
	b, err := readBounded(ctx, path, maxConfig)
	if err == nil {
		if c, _, err = parseNodeConfig(b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	change(c)
	if b, err = c.encode(); err != nil {
		return err
	}
	return writeFile(path, b, 0o600)
}
