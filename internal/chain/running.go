// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	dbm "github.com/cometbft/cometbft-db"

	"cityid/internal/store"
)

// A running node gives a backup of itself over a Unix socket in its home, which only
// its owner can reach. Whoever connects gets one stream and says nothing:
//
//	D name      the pairs that follow are of this database
//	P key value
//	F name content  a file of the home
//	X text      why there is nothing more
//	E digest    the end: SHA-256 of all octets before this frame
//
// A frame is its letter and, for each part, 4 octets of length, big-endian, and the
// part. Databases come in the order state, blockstore, state.db and others, files
// after them. All is as it was at one moment between two commits, held by snapshots of
// the databases and open files, so that the node goes on meanwhile; it writes nothing
// for a backup, so a full disk there does it no harm.
const (
	backupSocket = "backup.sock"
	treeDB       = "tree" // name of the state tree in a stream

	maxBackupName  = 255
	maxBackupKey   = 1 << 16
	maxBackupValue = 64 << 20
	maxBackupFile  = 1 << 30
	backupWrite    = time.Minute // a reader may take for what is written at once
)

// runningFile in a home says that it is a copy of a node that went on running, keys
// and all. Such a node does not open before RaiseSigned has removed it.
const runningFile = "running.json"

// ErrCopy: the folder is a copy of a node that ran on, with its keys. What its
// validator key signed since is not in it.
var ErrCopy = errors.New("the folder was restored from a backup of a node that ran on, with its keys, and does not say what these signed since: make sure that no other node runs with them, then say with cityid node signing --through up to which block they have signed")

// ErrNoBackup: a running node can not be backed up now.
var ErrNoBackup = errors.New("the running node gives no backup of itself")

// errBackups: one at a time.
var errBackups = errors.New("another backup is being made: wait for it")

// moment is what a backup holds, as it is between two commits.
type moment struct {
	tree  *store.Frozen
	names []string // of CometBFT's databases
	dbs   []dbm.Iterator
	files []openFile
}

type openFile struct {
	name string // in the home
	f    *os.File
	size int64
}

func (m *moment) close() {
	if m.tree != nil {
		m.tree.Close()
	}
	for _, it := range m.dbs {
		_ = it.Close()
	}
	for _, f := range m.files {
		_ = f.f.Close()
	}
}

// moment holds the node as it is now. No block is committed meanwhile, which takes as
// long as opening a few files. CometBFT saves a block before it is committed and its
// own state after, so the order makes what it finds at the next start one of the
// moments at which a process may end: the log of consensus, then blocks, then
// CometBFT's state, and last of all what the validator signed.
func (n *Node) moment() (m *moment, err error) {
	n.app.committing.Lock()
	defer n.app.committing.Unlock()
	m = new(moment)
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if n.app.committed().Height == 0 || n.blocks.Height() == 0 {
		return m, errors.New("it has no block yet")
	}
	if m.tree, err = n.app.store.Freeze(); err != nil {
		return m, err
	}
	list, err := filesBelow(n.cfg.Home, blocksDir)
	if err != nil {
		return m, err
	}
	for _, name := range append(list, validatorStateFile) {
		if dir, _, _ := strings.Cut(strings.TrimPrefix(name, blocksDir+"/"), "/"); strings.HasSuffix(dir, ".db") {
			continue
		}
		if name == validatorStateFile { // all else is held
			if err := n.holdDatabases(m); err != nil {
				return m, err
			}
		}
		f, err := os.Open(filepath.Join(n.cfg.Home, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) && name != validatorStateFile {
			continue // its log went on to another
		}
		if err != nil {
			return m, err
		}
		m.files = append(m.files, openFile{name: name, f: f})
		info, err := f.Stat()
		if err != nil {
			return m, err
		}
		m.files[len(m.files)-1].size = info.Size()
	}
	return m, nil
}

func (n *Node) holdDatabases(m *moment) error {
	for _, name := range n.databases.names() {
		it, err := n.databases.get(name).Iterator(nil, nil)
		if err != nil {
			return err
		}
		m.names, m.dbs = append(m.names, name), append(m.dbs, it)
	}
	return nil
}

// names returns those of the databases that provide made: blocks first, CometBFT's
// state second.
func (d *databases) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []string{"blockstore", "state"}
	for name := range d.named {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out[2:])
	return out
}

// backups gives backups over the socket.
type backups struct {
	n    *Node
	dir  *os.File // the home, while its path is too long for a socket
	l    net.Listener
	one  sync.Mutex // held while one is given
	open sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended bool
}

// socketPath returns the path of a home's socket. Where it is longer than a socket's
// name may be, the folder is opened and reached by its number.
func socketPath(home string) (path string, dir *os.File, err error) {
	path = filepath.Join(home, backupSocket)
	if len(path) <= 100 || runtime.GOOS != "linux" {
		return path, nil, nil
	}
	if dir, err = os.Open(home); err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), backupSocket), dir, nil
}

// giveBackups begins to answer on the socket.
func (n *Node) giveBackups() error {
	path, dir, err := socketPath(n.cfg.Home)
	if err != nil {
		return err
	}
	b := &backups{n: n, dir: dir, conns: make(map[net.Conn]bool)}
	_ = os.Remove(path) // of a process that was killed; the home is locked
	if b.l, err = net.Listen("unix", path); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		b.close()
		return err
	}
	n.backups = b
	b.open.Go(func() {
		for {
			c, err := b.l.Accept()
			if err != nil {
				return
			}
			if !b.take(c) {
				return
			}
			b.open.Go(func() {
				defer b.leave(c)
				b.give(c)
			})
		}
	})
	return nil
}

func (b *backups) take(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		c.Close()
		return false
	}
	b.conns[c] = true
	return true
}

func (b *backups) leave(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	c.Close()
}

// close ends all backups, and waits until nobody holds a database.
func (b *backups) close() {
	if b == nil {
		return
	}
	if b.l != nil {
		_ = b.l.Close() // which removes the socket
	}
	b.mu.Lock()
	b.ended = true
	for c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.open.Wait()
	if b.dir != nil {
		b.dir.Close()
	}
}

// give writes one stream.
func (b *backups) give(c net.Conn) {
	w := &backupWriter{w: bufio.NewWriterSize(timedConn{c}, 1<<18), hash: sha256.New()}
	err := errBackups
	if b.one.TryLock() {
		start := time.Now()
		err = func() error {
			defer b.one.Unlock()
			m, err := b.n.moment()
			if err != nil {
				return err
			}
			defer m.close()
			held := time.Since(start)
			if err := w.moment(m); err != nil {
				return err
			}
			b.n.cfg.Logger.Info("gave a backup", "height", m.tree.Height(), "octets", w.octets, "held", held.Round(time.Microsecond), "took", time.Since(start).Round(time.Millisecond))
			return nil
		}()
	}
	if err != nil {
		b.n.cfg.Logger.Warn("gave no backup", "error", err)
		_ = w.frame('X', []byte(err.Error()))
	}
	_ = w.w.Flush()
}

// timedConn bounds how long a reader takes.
type timedConn struct{ net.Conn }

func (c timedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(backupWrite)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// backupWriter writes frames.
type backupWriter struct {
	w      *bufio.Writer
	hash   hash.Hash
	octets int64
}

func (w *backupWriter) write(p []byte) error {
	w.hash.Write(p)
	w.octets += int64(len(p))
	_, err := w.w.Write(p)
	return err
}

func (w *backupWriter) frame(kind byte, parts ...[]byte) error {
	head := []byte{kind}
	for _, p := range parts {
		if err := w.write(binary.BigEndian.AppendUint32(head, uint32(len(p)))); err != nil {
			return err
		}
		if err := w.write(p); err != nil {
			return err
		}
		head = head[:0]
	}
	return nil
}

func (w *backupWriter) moment(m *moment) error {
	if err := w.frame('D', []byte(treeDB)); err != nil {
		return err
	}
	if err := m.tree.Scan(func(key, value []byte) error { return w.frame('P', key, value) }); err != nil {
		return err
	}
	for i, it := range m.dbs {
		if err := w.frame('D', []byte(m.names[i])); err != nil {
			return err
		}
		for ; it.Valid(); it.Next() {
			if err := w.frame('P', it.Key(), it.Value()); err != nil {
				return err
			}
		}
		if err := it.Error(); err != nil {
			return err
		}
	}
	for _, f := range m.files {
		if f.size > maxBackupFile {
			return fmt.Errorf("%s has %d octets: at most %d", f.name, f.size, maxBackupFile)
		}
		content := make([]byte, f.size) // a part of the log of consensus has 10 MB
		if _, err := io.ReadFull(f.f, content); err != nil {
			return fmt.Errorf("read %s: %w", f.name, err)
		}
		if err := w.frame('F', []byte(f.name), content); err != nil {
			return err
		}
	}
	return w.frame('E', w.hash.Sum(nil))
}

// backupReader reads frames.
type backupReader struct {
	r    *bufio.Reader
	hash hash.Hash
}

// read reads n octets, which arrive before there is room for the next.
func (r *backupReader) read(n int) ([]byte, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(io.MultiWriter(&b, r.hash), r.r, int64(n)); err != nil {
		return nil, cut(err)
	}
	return b.Bytes(), nil
}

// part reads a part of a frame.
func (r *backupReader) part(most uint32) ([]byte, error) {
	head, err := r.read(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n > most {
		return nil, fmt.Errorf("a part of %d octets: at most %d", n, most)
	}
	return r.read(int(n))
}

// cut is what it means that a stream ends before its end.
func cut(err error) error {
	return fmt.Errorf("%w: it stopped meanwhile: do it again (%w)", ErrNoBackup, err)
}

// into is where a stream goes.
type into interface {
	database(name string) error
	pair(key, value []byte) error
	file(name string, content []byte) error
}

// readBackup reads a stream to its end. It refuses what no node sends.
func readBackup(from io.Reader, to into) error {
	r := &backupReader{r: bufio.NewReaderSize(from, 1<<18), hash: sha256.New()}
	in, files := "", false
	for {
		sum := r.hash.Sum(nil)
		kind, err := r.read(1)
		if err != nil {
			return err
		}
		switch kind[0] {
		case 'D':
			name, err := r.part(maxBackupName)
			if err != nil {
				return err
			}
			if (in == "") != (string(name) == treeDB) || files || !inBackup(blocksDir+"/"+string(name)) || strings.Contains(string(name), "/") {
				return fmt.Errorf("database %.40q comes out of turn", name)
			}
			in = string(name)
			if err := to.database(in); err != nil {
				return err
			}
		case 'P':
			key, err := r.part(maxBackupKey)
			if err != nil {
				return err
			}
			value, err := r.part(maxBackupValue)
			if err != nil {
				return err
			}
			if in == "" || files || len(key) == 0 {
				return errors.New("a pair comes out of turn")
			}
			if err := to.pair(key, value); err != nil {
				return err
			}
		case 'F':
			name, err := r.part(maxBackupName)
			if err != nil {
				return err
			}
			content, err := r.part(maxBackupFile)
			if err != nil {
				return err
			}
			dir, _, _ := strings.Cut(strings.TrimPrefix(string(name), blocksDir+"/"), "/")
			if files = true; in == "" || string(name) != validatorStateFile && (!strings.HasPrefix(string(name), blocksDir+"/") || !inBackup(string(name)) || strings.HasSuffix(dir, ".db")) {
				return fmt.Errorf("file %.40q comes out of turn", name)
			}
			if err := to.file(string(name), content); err != nil {
				return err
			}
		case 'E':
			got, err := r.part(sha256.Size)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, sum) {
				return errors.New("its digest is another")
			}
			if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
				return errors.New("something follows its end")
			}
			return nil
		case 'X':
			text, err := r.part(maxBackupKey)
			if err != nil {
				return err
			}
			return fmt.Errorf("%w: %s", ErrNoBackup, bytes.ToValidUTF8(text, nil))
		default:
			return fmt.Errorf("a frame of kind %#x", kind[0])
		}
	}
}

// homeCopy makes a folder of a stream.
type homeCopy struct {
	ctx    context.Context
	home   string
	tell   func(octets int64)
	octets int64

	tree  *store.Copy
	db    dbm.DB
	batch dbm.Batch
	room  int
}

func (h *homeCopy) database(name string) (err error) {
	if err := h.end(); err != nil {
		return err
	}
	if name == treeDB {
		h.tree, err = store.NewCopy(filepath.Join(h.home, stateDir))
		return err
	}
	dir := filepath.Join(h.home, blocksDir)
	if _, err := os.Stat(filepath.Join(dir, name+".db")); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("database %s comes twice", name), err)
	}
	if h.db, err = dbm.NewDB(name, dbm.GoLevelDBBackend, dir); err == nil {
		h.batch = h.db.NewBatch()
	}
	return err
}

func (h *homeCopy) pair(key, value []byte) error {
	if err := h.ctx.Err(); err != nil {
		return err
	}
	h.octets += int64(len(key) + len(value))
	h.tell(h.octets)
	if h.tree != nil {
		return h.tree.Set(key, value)
	}
	if err := h.batch.Set(key, value); err != nil {
		return err
	}
	if h.room += len(key) + len(value); h.room < 4<<20 {
		return nil
	}
	err := errors.Join(h.batch.Write(), h.batch.Close())
	h.batch, h.room = h.db.NewBatch(), 0
	return err
}

// end closes the database that is being made, if one is.
func (h *homeCopy) end() (err error) {
	if h.tree != nil {
		err = h.tree.Close()
		h.tree = nil
	}
	if h.db != nil {
		err = errors.Join(h.batch.WriteSync(), h.batch.Close(), h.db.Close())
		h.db, h.room = nil, 0
	}
	return err
}

func (h *homeCopy) file(name string, content []byte) error {
	path := filepath.Join(h.home, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// copyRunning makes in a folder what a running node gives of its home.
func copyRunning(ctx context.Context, home, to string, tell func(octets int64)) (err error) {
	path, dir, err := socketPath(home)
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	h := &homeCopy{ctx: ctx, home: to, tell: tell}
	err = readBackup(conn, h)
	if ended := h.end(); err == nil {
		err = ended
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
