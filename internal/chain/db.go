// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"runtime"
	"sync"

	dbm "github.com/cometbft/cometbft-db"
	cmtcfg "github.com/cometbft/cometbft/config"
)

// databases opens CometBFT's databases and closes them after everything else.
//
// CometBFT closes its stores when a node stops, while goroutines of its
// reactors may be about to read them once more and then panic. So Close on a
// database given out does nothing; closeAll closes them when the node has
// stopped, and whoever still comes late ends its own goroutine.
//
// Headers, the votes for them and validators are never deleted; see keepHeaders.
type databases struct {
	mu    sync.Mutex
	open  []*lateDB
	named map[string]dbm.DB // those of open that provide made
}

// provide is a CometBFT DBProvider. Who asks for a database again gets the same.
func (d *databases) provide(ctx *cmtcfg.DBContext) (dbm.DB, error) {
	d.mu.Lock()
	db := d.named[ctx.ID]
	d.mu.Unlock()
	if db != nil {
		return db, nil
	}
	db, err := dbm.NewDB(ctx.ID, dbm.BackendType(ctx.Config.DBBackend), ctx.Config.DBDir())
	if err != nil {
		return nil, err
	}
	db = d.keep(db)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.named == nil {
		d.named = make(map[string]dbm.DB)
	}
	d.named[ctx.ID] = db
	return db, nil
}

// get returns a database that provide made, nil if there is none.
func (d *databases) get(id string) dbm.DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.named[id]
}

func (d *databases) keep(db dbm.DB) dbm.DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := &lateDB{db: db}
	d.open = append(d.open, late)
	return late
}

func (d *databases) closeAll() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, db := range d.open {
		errs = append(errs, db.closeNow())
	}
	d.open, d.named = nil, nil
	return errors.Join(errs...)
}

// lateDB is a database that ends the goroutines which use it after closing.
type lateDB struct {
	mu     sync.RWMutex // held for reading while db is used
	db     dbm.DB
	closed bool
}

var _ dbm.DB = (*lateDB)(nil)

func (l *lateDB) closeNow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.db.Close()
}

// enter must be followed by l.mu.RUnlock.
func (l *lateDB) enter() dbm.DB {
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		runtime.Goexit()
	}
	return l.db
}

func (l *lateDB) Get(key []byte) ([]byte, error) {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Get(key)
}

func (l *lateDB) Has(key []byte) (bool, error) {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Has(key)
}

func (l *lateDB) Set(key, value []byte) error {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Set(key, value)
}

func (l *lateDB) SetSync(key, value []byte) error {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.SetSync(key, value)
}

func (l *lateDB) Delete(key []byte) error {
	if keepHeaders(key) {
		return nil
	}
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Delete(key)
}

func (l *lateDB) DeleteSync(key []byte) error {
	if keepHeaders(key) {
		return nil
	}
	db := l.enter()
	defer l.mu.RUnlock()
	return db.DeleteSync(key)
}

func (l *lateDB) Iterator(start, end []byte) (dbm.Iterator, error) {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Iterator(start, end)
}

func (l *lateDB) ReverseIterator(start, end []byte) (dbm.Iterator, error) {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.ReverseIterator(start, end)
}

// Close does nothing; see databases.
func (l *lateDB) Close() error { return nil }

func (l *lateDB) NewBatch() dbm.Batch {
	db := l.enter()
	defer l.mu.RUnlock()
	return lateBatch{db.NewBatch(), l}
}

func (l *lateDB) Print() error {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Print()
}

func (l *lateDB) Stats() map[string]string {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Stats()
}

func (l *lateDB) Compact(start, end []byte) error {
	db := l.enter()
	defer l.mu.RUnlock()
	return db.Compact(start, end)
}

// lateBatch writes to a lateDB.
type lateBatch struct {
	dbm.Batch
	late *lateDB
}

// Delete implements dbm.Batch.
func (b lateBatch) Delete(key []byte) error {
	if keepHeaders(key) {
		return nil
	}
	return b.Batch.Delete(key)
}

func (b lateBatch) Write() error {
	b.late.enter()
	defer b.late.mu.RUnlock()
	return b.Batch.Write()
}

func (b lateBatch) WriteSync() error {
	b.late.enter()
	defer b.late.mu.RUnlock()
	return b.Batch.WriteSync()
}
