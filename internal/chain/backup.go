// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	cmtcfg "github.com/cometbft/cometbft/config"
	sm "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/internal/store"
	"cityid/merkle"
)

// backupFormat names the archives of a home, which are those of package folder.
// Their entries are genesis.json, then what else a home has of these, with slashes
// and in byte order: the files named in backupFiles, and the files in the folders
// blocks/, office/ and state/.
const backupFormat = "cityid/node-backup/1"

var (
	backupFiles   = []string{"node.json", "part.json", "trust.json"}
	backupKeys    = []string{nodeKeyFile, validatorKeyFile, validatorStateFile, runningFile}
	backupFolders = []string{blocksDir, "office", stateDir}
)

// ErrNoState: a home has no state, because its node never ran.
var ErrNoState = store.ErrNotExist

// BackupOptions say what a backup holds besides state and blocks.
type BackupOptions struct {
	// Keys are taken along: who the node is, what its votes are signed with, and
	// what it signed last. Two nodes with them can sign two histories.
	Keys bool
	// NoOffice leaves out what the institution keeps off the chain.
	NoOffice bool
	// Recipients can open the backup; it is not encrypted if there are none.
	Recipients []age.Recipient

	// What follows is used while the node runs.

	// Temp is the folder in which a copy is made before it is written, in a folder
	// that is removed at the end: as much room as state/, blocks/ and office/ take.
	// The system's if it is empty.
	Temp string
	// Office copies an office that is in use. It is called if there is one.
	Office func(ctx context.Context, from, to string) error
	// Tell is called often with the octets copied; it may be nil.
	Tell func(octets int64)
}

// Backup writes an archive of the home of a node. That of a stopped one stays locked
// meanwhile. A running one gives a copy of what it holds at one moment, at a commit,
// and goes on; the copy is verified as [Restore] does it, before it is written. With
// keys, such an archive is restored to a folder that does not open before it was told
// what these have signed since ([RaiseSigned]).
//
// The error wraps [ErrLocked], [ErrNoState], [ErrNoBackup] or a cause of package
// folder. What an error leaves is no archive.
func Backup(ctx context.Context, home string, w io.Writer, o BackupOptions) (err error) {
	if _, err := ReadGenesis(home); err != nil {
		return err
	}
	unlock, err := store.Lock(filepath.Join(home, stateDir))
	if errors.Is(err, ErrLocked) {
		return backupRunning(ctx, home, w, o)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock.Close()) }()
	return writeBackup(ctx, home, home, w, o)
}

// running is what [runningFile] says.
type running struct {
	Height uint64 `json:"height"` // at which the node was copied
}

// readRunning reads it; nil if there is none.
func readRunning(home string) (*running, error) {
	text, err := os.ReadFile(filepath.Join(home, runningFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, d := new(running), json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("read %s: %w", runningFile, err)
	}
	return r, nil
}

// backupRunning writes an archive of a running node's home.
func backupRunning(ctx context.Context, home string, w io.Writer, o BackupOptions) (err error) {
	dir, err := os.MkdirTemp(o.Temp, ".cityid-backup-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Tell == nil {
		o.Tell = func(int64) {}
	}
	if err := copyRunning(ctx, home, dir, o.Tell); err != nil {
		return err
	}
	office := filepath.Join(home, "office")
	if _, err := os.Stat(office); err == nil && !o.NoOffice {
		if err := o.Office(ctx, office, filepath.Join(dir, "office")); err != nil {
			return fmt.Errorf("copy the office: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(home, genesisFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, genesisFile), text, 0o600)
	}
	if err != nil {
		return err
	}
	made := new(Restored)
	if err := made.verify(dir); err != nil {
		return fmt.Errorf("the copy is not what the node holds: %w", err)
	}
	if text, err = json.Marshal(&running{made.Height}); err == nil {
		err = os.WriteFile(filepath.Join(dir, runningFile), text, 0o600)
	}
	if err != nil {
		return err
	}
	return writeBackup(ctx, home, dir, w, o)
}

// ofCopy reports whether a copy of a running node's home has a file, which otherwise is
// taken from the home itself, where it does not change.
func ofCopy(name string) bool {
	dir, _, in := strings.Cut(name, "/")
	return name == validatorStateFile || name == runningFile || in && slices.Contains(backupFolders, dir)
}

// writeBackup writes an archive of a home, of which some is in a copy; that of a
// stopped node is its own.
func writeBackup(ctx context.Context, home, copied string, w io.Writer, o BackupOptions) error {
	files := slices.Clone(backupFiles)
	if o.Keys {
		files = append(files, backupKeys...)
	}
	place := func(name string) string {
		if ofCopy(name) {
			return filepath.Join(copied, filepath.FromSlash(name))
		}
		return filepath.Join(home, filepath.FromSlash(name))
	}
	m := folder.Manifest{Format: backupFormat, Created: time.Now()}
	add := func(name string) error {
		e, err := folder.EntryOfFile(ctx, name, place(name))
		if err == nil {
			m.Entries = append(m.Entries, e)
		}
		return err
	}
	if err := add(genesisFile); err != nil {
		return err
	}
	var names []string
	for _, name := range files {
		if _, err := os.Stat(place(name)); err == nil {
			names = append(names, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range backupFolders {
		if dir == "office" && o.NoOffice {
			continue
		}
		list, err := filesBelow(copied, dir)
		if err != nil {
			return err
		}
		names = append(names, list...)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := add(name); err != nil {
			return err
		}
	}
	return folder.WriteArchive(ctx, w, m, func(e folder.Entry) (io.ReadCloser, error) {
		return os.Open(place(e.Name))
	}, o.Recipients...)
}

// filesBelow lists the files in a folder of a home, but for locks.
func filesBelow(home, dir string) (names []string, err error) {
	err = filepath.WalkDir(filepath.Join(home, dir), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == filepath.Join(home, dir) {
			return nil
		}
		if err != nil || d.IsDir() || isLock(d.Name()) {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no file: remove it, or move it out of the folder", p)
		}
		rel, err := filepath.Rel(home, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

func isLock(name string) bool { return name == "LOCK" || name == "lock" }

// Restored is what a restored home is.
type Restored struct {
	Chain   string        `json:"chain"`
	Height  uint64        `json:"height"` // of the last block carried out
	AppHash cityid.Digest `json:"app_hash"`
	Keys    bool          `json:"keys"`    // the keys are those of the node that was backed up
	Office  bool          `json:"office"`  // there is an office
	Running bool          `json:"running"` // the node that was backed up ran on, and the keys can not be used before RaiseSigned
}

// Restore makes the home of a node from an archive. home must not exist, or be
// empty, and appears only once everything in it was verified: every file's digest,
// the whole state against its app hash, and the signatures of more than two thirds
// of the validators under the latest block; and what check says of the folder.
// Where the archive has no keys, the node gets new ones: it has another id and no
// vote. Errors are those of [folder.Restore], or wrap [ErrForeignChain].
func Restore(ctx context.Context, home string, r io.Reader, check func(ctx context.Context, home string) error, identities ...age.Identity) (*Restored, error) {
	out := new(Restored)
	seen := make(map[string]bool)
	kind := folder.Kind{
		Format: backupFormat, Least: 2,
		Path: func(i int, e folder.Entry) string {
			if seen[e.Name] || (i == 0) != (e.Name == genesisFile) || !inBackup(e.Name) {
				return ""
			}
			seen[e.Name] = true
			return e.Name
		},
		Check: func(ctx context.Context, dir string, entries []folder.Entry) error {
			for _, e := range entries {
				out.Keys = out.Keys || e.Name == validatorKeyFile
				out.Running = out.Running || e.Name == runningFile
				out.Office = out.Office || strings.HasPrefix(e.Name, "office/")
			}
			if !out.Keys {
				if _, err := InitHome(dir); err != nil {
					return fmt.Errorf("%w: %w", folder.ErrDamaged, err)
				}
			}
			if _, err := readRunning(dir); err != nil || out.Running && !out.Keys {
				return fmt.Errorf("%w: %s does not belong there: %w", folder.ErrDamaged, runningFile, err)
			}
			if _, err := ReadIdentity(dir); err != nil {
				return fmt.Errorf("%w: %w", folder.ErrDamaged, err)
			}
			if _, err := openValidator(dir); err != nil {
				return fmt.Errorf("%w: %w", folder.ErrDamaged, err)
			}
			if err := out.verify(dir); err != nil {
				return err
			}
			return check(ctx, dir)
		},
	}
	if err := folder.Restore(ctx, kind, home, r, identities...); err != nil {
		return nil, err
	}
	return out, nil
}

// inBackup reports whether an entry of a backup may have a name.
func inBackup(name string) bool {
	if name == genesisFile || slices.Contains(backupFiles, name) || slices.Contains(backupKeys, name) {
		return true
	}
	dir, _, ok := strings.Cut(name, "/")
	return ok && slices.Contains(backupFolders, dir) && path.Clean(name) == name && !isLock(path.Base(name)) &&
		!strings.ContainsAny(name, "\\:\x00") && !strings.Contains(name, "..")
}

// verify checks state and blocks of a home, and fills in what they are.
func (r *Restored) verify(home string) (err error) {
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", folder.ErrDamaged, fmt.Errorf(format, args...))
	}
	g, err := ReadGenesis(home)
	if err != nil {
		return damaged("%w", err)
	}
	st, err := store.Open(filepath.Join(home, stateDir), store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	raw, err := st.GetSide(headKey)
	if err != nil {
		return err
	}
	var h head
	if raw == nil {
		return damaged("the state has no block")
	}
	if err := cityid.UnmarshalTrusted(raw, &h); err != nil {
		return damaged("%w", err)
	}
	if h.Chain != g.Chain || h.Genesis != g.Hash() || st.ChainID() != g.Chain {
		return fmt.Errorf("%w: the state is of chain %s, the genesis file founds %s", ErrForeignChain, h.Chain, g.Chain)
	}
	if h.Height != st.Height() || h.AppHash != cityid.Digest(st.Root()) {
		return damaged("the state is at height %d and says that it is at %d", st.Height(), h.Height)
	}
	r.Chain, r.Height, r.AppHash = h.Chain, h.Height, h.AppHash
	return verifyBlocks(home, st, &h)
}

// verifyBlocks checks that the blocks of a home lead on from its state, and that
// the last one CometBFT carried out is signed.
func verifyBlocks(home string, st *store.Store, h *head) (err error) {
	dbs := new(databases)
	defer func() { err = errors.Join(err, dbs.closeAll()) }()
	cfg := Config{Home: home, Mempool: DefaultMempool, Heartbeat: DefaultHeartbeat}.comet()
	blockDB, err := dbs.provide(&cmtcfg.DBContext{ID: "blockstore", Config: cfg})
	if err != nil {
		return fmt.Errorf("%w: blocks: %w", folder.ErrDamaged, err)
	}
	stateDB, err := dbs.provide(&cmtcfg.DBContext{ID: "state", Config: cfg})
	if err != nil {
		return fmt.Errorf("%w: blocks: %w", folder.ErrDamaged, err)
	}
	blocks, states := cmtstore.NewBlockStore(blockDB), sm.NewStore(stateDB, sm.StoreOptions{DiscardABCIResponses: true})
	state, err := states.Load()
	if err != nil {
		return fmt.Errorf("%w: blocks: %w", folder.ErrDamaged, err)
	}
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("%w: blocks: "+format, append([]any{folder.ErrDamaged}, args...)...)
	}
	app, top, done := int64(h.Height), blocks.Height(), state.LastBlockHeight
	switch {
	case state.IsEmpty():
		return damaged("there are none")
	case state.ChainID != h.Chain:
		return fmt.Errorf("%w: the blocks are of chain %s", ErrForeignChain, state.ChainID)
	case top == 0 && done == app && done > 0: // it began with a snapshot, and has no block yet
	case app > top || top > done+1 || done > top || app < blocks.Base()-1 || app > done+1:
		return damaged("they end at %d, were carried out to %d, and the state is that after block %d", top, done, app)
	}
	if done == app && !bytes.Equal(state.AppHash, h.AppHash[:]) {
		return damaged("after block %d they lead to another state", app)
	}
	if done == 0 {
		return nil
	}
	seen := blocks.LoadSeenCommit(done)
	if top > done {
		if meta := blocks.LoadBlock(top); meta != nil {
			seen = meta.LastCommit
		}
	}
	if seen == nil {
		return damaged("nobody signed block %d", done)
	}
	if err := state.LastValidators.VerifyCommitLight(h.Chain, state.LastBlockID, done, seen); err != nil {
		return damaged("block %d: %w", done, err)
	}
	return verifyLog(blocks, st)
}

// verifyLog checks that the last block in the state's block log is the one kept.
func verifyLog(blocks *cmtstore.BlockStore, st *store.Store) error {
	v, err := st.Latest()
	if err != nil {
		return err
	}
	defer v.Close()
	size := v.LogSize()
	meta := blocks.LoadBlockMeta(int64(size))
	if size == 0 || meta == nil {
		return nil
	}
	leaf, err := v.LogLeaf(size - 1)
	if err == nil && leaf != merkle.LogLeafHash(meta.BlockID.Hash) {
		err = fmt.Errorf("%w: block %d is not the one in the block log", folder.ErrDamaged, size)
	}
	return err
}
