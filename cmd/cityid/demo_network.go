// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/keys"
	"cityid/verify"
)

// Names in the demo's folder.
const (
	demoKeysDir        = "keys"
	demoPassphraseFile = "passphrase"
	demoSeedFile       = "seed"
	demoTrustFile      = "trust.json"
	demoObjects        = "objects"
	demoLabels         = "labels"
	demoBundleFile     = "sjz-01.cityid"
	demoLogFile        = "demo.log"
)

// demoFolder is where everything of a demo lies, with the keys in it.
type demoFolder struct {
	path       string
	temporary  bool // removed at the end
	passphrase string
	seed       []byte
	logFile    *os.File
	log        *slog.Logger
}

// openDemoFolder opens the folder of a demo, and makes it unless it is there.
// An empty path stands for a temporary one. A folder with other things in it is
// refused.
func openDemoFolder(path string) (f *demoFolder, err error) {
	f = &demoFolder{path: path, temporary: path == ""}
	if f.temporary {
		if f.path, err = os.MkdirTemp("", "cityid-demo-"); err != nil {
			return nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
	} else if f.path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("folder of the demo: %w", err)
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *demoFolder) open() error {
	entries, err := os.ReadDir(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	_, err = os.Stat(f.file(demoKeysDir, demoSeedFile))
	if len(entries) > 0 && err != nil {
		return hint(exitError{exitConflict, fmt.Errorf("%s is not empty and holds no demo", f.path)}, "choose an empty folder with --data, or one that a demo made")
	}
	if err := os.MkdirAll(f.file(demoKeysDir), 0o700); err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	// The seed comes first: it is what marks the folder as a demo's.
	seed, err := f.keep(demoSeedFile)
	if err != nil {
		return err
	}
	f.seed = []byte(seed)
	for _, dir := range []string{demoObjects, demoLabels} {
		if err := os.MkdirAll(f.file(dir), 0o700); err != nil {
			return fmt.Errorf("folder of the demo: %w", err)
		}
	}
	if f.passphrase, err = f.keep(demoPassphraseFile); err != nil {
		return err
	}
	f.logFile, err = os.OpenFile(f.file(demoLogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of the demo: %w", err)
	}
	f.log = slog.New(slog.NewTextHandler(f.logFile, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return nil
}

// keep returns the text of a file beside the keys, and makes it of random
// letters unless it is there.
func (f *demoFolder) keep(name string) (string, error) {
	path := f.file(demoKeysDir, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(rand.Text() + "\n")
		err = writeFile(path, b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("keys of the demo: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (f *demoFolder) file(parts ...string) string {
	return filepath.Join(append([]string{f.path}, parts...)...)
}

// close leaves the folder, and removes it if it is temporary.
func (f *demoFolder) close() error {
	var err error
	if f.logFile != nil {
		err = f.logFile.Close()
	}
	if f.temporary {
		err = errors.Join(err, os.RemoveAll(f.path))
	}
	return err
}

// key opens a key file of the demo, and makes it unless it is there. The work
// factor is the least, since the passphrase lies beside the file.
func (f *demoFolder) key(name string, a keys.Algorithm) (*keys.Private, error) {
	path := f.file(demoKeysDir, name+".key")
	k, err := keys.ReadFile(path, f.passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		if k, err = keys.Generate(a, nil); err == nil {
			err = keys.WriteFile(path, k, f.passphrase, keys.WithName("demo: "+name), keys.WithWorkFactor(keys.MinWorkFactor))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key %s of the demo: %w", name, err)
	}
	return k, nil
}

// signer is key for an ed25519 key to sign with.
func (f *demoFolder) signer(name string) (cityid.Signer, error) {
	k, err := f.key(name, keys.Ed25519)
	if err != nil {
		return cityid.Signer{}, err
	}
	return signerOf(k), nil
}

// member returns a member of a policy that holds keys, each with a role.
func (f *demoFolder) member(roles ...namedRole) (cityid.Member, error) {
	var m cityid.Member
	for _, r := range roles {
		a := keys.Ed25519
		if r.role == cityid.RoleEncrypt {
			a = keys.X25519
		}
		k, err := f.key(r.key, a)
		if err != nil {
			return m, err
		}
		m.Keys = append(m.Keys, cityid.Key{Public: cityid.PublicKey(k.Public().Raw()), Roles: r.role})
	}
	return m, nil
}

type namedRole struct {
	key  string
	role cityid.Roles
}

// officers returns the keys that sign for a place and the names of those that
// have files; all others derive from the seed: HKDF-SHA-256 of it with the
// info "cityid demo officer of " and the code.
func (f *demoFolder) officers(code cityid.Code) ([]cityid.Signer, error) {
	var out []cityid.Signer
	for _, name := range map[cityid.Code][]string{
		demoCity:                      {"shijiazhuang-1", "shijiazhuang-2"},
		cityid.MustParse("MA.156.12"): {"tianjin-1"},
	}[code] {
		s, err := f.signer(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) > 0 {
		return out, nil
	}
	secret, err := hkdf.Key(sha256.New, f.seed, nil, "cityid demo officer of "+code.String(), 32)
	if err != nil {
		return nil, err
	}
	k, err := keys.NewPrivate(keys.Ed25519, secret)
	if err != nil {
		return nil, err
	}
	return []cityid.Signer{signerOf(k)}, nil
}

// institute names the key of an institute: its n-th, "intake" or "encrypt".
func institute(i int, which string) string { return "institute-" + "abc"[i:i+1] + "-" + which }

// demoRecords returns what the zone is founded with: the apex, which two of the
// three institutes decide for, and the institutes with officers of their own.
func demoRecords(f *demoFolder) ([]cityid.Allocation, error) {
	named := func(zh, en string) cityid.Content {
		return cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": zh, "en": en})}
	}
	apex := cityid.Allocation{
		Code: demoApex, Kind: cityid.KindAuthority, Content: named("城市标识演示根区", "Root zone of the cityid demo"),
		Policy: &cityid.Policy{Threshold: 2}, Recovery: &cityid.Policy{Threshold: 2},
	}
	for i := range 3 {
		m, err := f.member(namedRole{fmt.Sprintf("recovery-%d", i+1), cityid.RoleControl})
		if err != nil {
			return nil, err
		}
		apex.Recovery.Members = append(apex.Recovery.Members, m)
	}
	var members []cityid.Allocation
	for i, code := range demoInstitutes {
		apex.Policy.Members = append(apex.Policy.Members, cityid.Member{Code: code})
		first, err := f.member(namedRole{institute(i, "1"), cityid.RoleControl},
			namedRole{institute(i, "intake"), cityid.RoleIntake}, namedRole{institute(i, "encrypt"), cityid.RoleEncrypt})
		if err != nil {
			return nil, err
		}
		second, err := f.member(namedRole{institute(i, "2"), cityid.RoleControl})
		if err != nil {
			return nil, err
		}
		members = append(members, cityid.Allocation{
			Code: code, Parent: demoApex, Kind: cityid.KindOrganisation,
			Content: named("演示研究院"+[]string{"甲", "乙", "丙"}[i], "Demo Institute "+"ABC"[i:i+1]),
			Policy:  &cityid.Policy{Threshold: 1, Members: []cityid.Member{first, second}},
		})
	}
	return append([]cityid.Allocation{apex}, members...), nil
}

// demoNetwork is the validators in this process.
type demoNetwork struct {
	folder  *demoFolder
	homes   []string
	chain   string
	resumed bool // the chain was there before
	nodes   []*chain.Node
}

// openDemoNetwork finds the nodes in the folder, or founds a network.
func openDemoNetwork(f *demoFolder, o demoOptions) (*demoNetwork, error) {
	n := &demoNetwork{folder: f}
	for {
		home := f.file(fmt.Sprintf("node%d", len(n.homes)))
		if _, err := os.Stat(home); err != nil {
			break
		}
		n.homes = append(n.homes, home)
	}
	g, err := n.genesis()
	if err != nil {
		return nil, err
	}
	switch have := len(n.homes); {
	case g != nil && o.validators != 0 && o.validators != have:
		return nil, hint(exitError{exitConflict, fmt.Errorf("%s holds a network of %d validators, not %d", f.path, have, o.validators)},
			"leave --validators out, or choose another folder")
	case g != nil:
		n.resumed = true
	default:
		for i := have; i < max(1, o.validators); i++ {
			n.homes = append(n.homes, f.file(fmt.Sprintf("node%d", i)))
		}
		if g, err = n.found(); err != nil {
			return nil, err
		}
	}
	n.chain = g.Chain
	return n, n.share(g)
}

// genesis returns the genesis of the nodes in the folder, or nil if none has
// one yet.
func (n *demoNetwork) genesis() (*chain.Genesis, error) {
	var first *chain.Genesis
	for _, home := range n.homes {
		g, err := chain.ReadGenesis(home)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = g
		}
		if g.Hash() != first.Hash() || !strings.HasPrefix(g.Chain, "cityid-demo-") {
			return nil, hint(exitError{exitConflict, fmt.Errorf("%s holds a node of chain %s, which is not this demo's", home, g.Chain)},
				"choose another folder with --data")
		}
	}
	return first, nil
}

// found makes the nodes' keys and the genesis of a new network.
func (n *demoNetwork) found() (*chain.Genesis, error) {
	records, err := demoRecords(n.folder)
	if err != nil {
		return nil, err
	}
	var validators []cityid.Validator
	for i, home := range n.homes {
		id, err := chain.ReadIdentity(home)
		if errors.Is(err, fs.ErrNotExist) {
			id, err = chain.InitHome(home)
		}
		if err != nil {
			return nil, err
		}
		validators = append(validators, cityid.Validator{Key: id.Validator, Power: 10, Owner: demoInstitutes[i%len(demoInstitutes)]})
	}
	return newGenesis("cityid-demo-"+strings.ToLower(rand.Text()[:8]), time.Now(), records, validators), nil
}

// share gives every node the genesis file.
func (n *demoNetwork) share(g *chain.Genesis) error {
	for _, home := range n.homes {
		if _, err := chain.ReadGenesis(home); errors.Is(err, fs.ErrNotExist) {
			if err := chain.WriteGenesis(home, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// start starts all nodes and waits until the chain moves. It cancels when one
// of them halts.
func (n *demoNetwork) start(ctx context.Context, t *stepTalk, cancel context.CancelCauseFunc) (string, error) {
	addresses, err := freeAddresses(len(n.homes))
	if err != nil {
		return "", err
	}
	var peers []string
	for i, home := range n.homes {
		id, err := chain.ReadIdentity(home)
		if err != nil {
			return "", err
		}
		peers = append(peers, id.Node+"@"+addresses[i])
	}
	for i, home := range n.homes {
		node, err := chain.Open(chain.Config{
			Home: home, Listen: addresses[i], Peers: append(append([]string(nil), peers[:i]...), peers[i+1:]...),
			Version: version, Logger: n.folder.log,
		})
		if err != nil {
			return "", explainDemo(err, n.folder.path)
		}
		n.nodes = append(n.nodes, node)
	}
	for _, node := range n.nodes {
		if err := node.Start(); err != nil {
			return "", explainDemo(err, n.folder.path)
		}
		go func() {
			<-node.Done()
			if err := node.Err(); err != nil {
				cancel(err)
			}
		}()
	}
	s, err := n.moving(ctx, t)
	if err != nil {
		return "", err
	}
	how := "new"
	if n.resumed {
		how = fmt.Sprintf("resumed at height %s", grouped(int(s.Height)))
	}
	return fmt.Sprintf("chain %s with %s, %s\ntwo of the three decide; each has officers of its own", n.chain, count(len(n.nodes), "validator"), how), nil
}

// explainDemo adds what to do about a node that does not open.
func explainDemo(err error, folder string) error {
	switch {
	case errors.Is(err, chain.ErrLocked):
		return hint(exitError{exitConflict, fmt.Errorf("a demo runs on %s already", folder)}, "stop it, or give this one another folder with --data")
	case errors.Is(err, chain.ErrForeignChain):
		return hint(exitError{exitConflict, err}, "%s holds the data of another chain: choose another folder with --data", folder)
	}
	return err
}

// moving waits until the chain has a recent block, since until then its answers
// are as old as the last one. A chain that has slept needs two: the first is
// dated by the votes for the one before it.
func (n *demoNetwork) moving(ctx context.Context, t *stepTalk) (*cityid.NodeStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the network makes no blocks: the demo's log may say why"))
	defer cancel()
	for said := false; ; {
		s, err := n.nodes[0].Status(ctx)
		if err == nil && time.Since(s.Time) < verify.DefaultMaxAge/2 {
			return s, nil
		}
		if err != nil && cityid.CodeOf(err) != cityid.ErrUnavailable {
			return nil, err
		}
		if err == nil && !said {
			t.note(fmt.Sprintf("waking up, %.0f s", 2*chain.DefaultHeartbeat.Seconds()))
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pin returns the trust root as the folder pins it: version 1, which follows
// from the genesis file.
func (n *demoNetwork) pin(ctx context.Context) (*verify.TrustFile, error) {
	versions, err := n.nodes[0].Trust(ctx)
	if err != nil {
		return nil, err
	}
	path := n.folder.file(demoTrustFile)
	b, err := readBounded(ctx, path, verify.MaxTrustFile)
	if errors.Is(err, fs.ErrNotExist) {
		trust, err := verify.NewTrustFile(versions[0])
		if err != nil {
			return nil, err
		}
		return trust, writeTrust(path, trust)
	}
	if err != nil {
		return nil, err
	}
	trust, err := verify.ParseTrustFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if trust.Pinned() != versions[0].Statement.Hash() {
		return nil, hint(exitError{exitConflict, fmt.Errorf("%s pins the trust root of another network", path)}, "remove the file, or choose another folder with --data")
	}
	return trust, nil
}

// stop stops all nodes. It may be called more than once.
func (n *demoNetwork) stop() error {
	if n == nil {
		return nil
	}
	var errs []error
	for _, node := range n.nodes {
		errs = append(errs, node.Stop())
	}
	return errors.Join(errs...)
}

// freeAddresses returns loopback addresses on which nobody listens.
func freeAddresses(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port for the nodes: %w", err)
		}
		defer l.Close() // all at the end, so that no port comes twice
		out = append(out, l.Addr().String())
	}
	return out, nil
}
