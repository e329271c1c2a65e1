// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"
)

// Yardstick is CometBFT on this package's engine settings, with its own example
// application in place of the registry: what any application would cost at least. It
// is for measurements.
type Yardstick struct {
	app       *kvApplication
	comet     *cmtnode.Node
	databases *databases
}

// kvApplication is the example application, which stores pairs key=value. Those who
// wait for a transaction are told when the block with it is committed.
type kvApplication struct {
	*kvstore.Application
	mu      sync.Mutex
	waiting map[types.TxKey]chan struct{}
	block   [][]byte // of the latest FinalizeBlock
}

// FinalizeBlock implements the ABCI.
func (a *kvApplication) FinalizeBlock(ctx context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	a.block = req.Txs
	return a.Application.FinalizeBlock(ctx, req)
}

// Commit implements the ABCI.
func (a *kvApplication) Commit(ctx context.Context, req *abci.RequestCommit) (*abci.ResponseCommit, error) {
	r, err := a.Application.Commit(ctx, req)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, tx := range a.block {
		key := types.Tx(tx).Key()
		if w := a.waiting[key]; w != nil {
			close(w)
			delete(a.waiting, key)
		}
	}
	return r, nil
}

// OpenYardstick opens and starts one on a folder that was made with [InitHome] and
// [WriteGenesis] as for a node. Its errors are those of [Open].
func OpenYardstick(cfg Config) (y *Yardstick, err error) {
	if cfg, err = cfg.complete(); err != nil {
		return nil, err
	}
	g, err := ReadGenesis(cfg.Home)
	if err != nil {
		return nil, err
	}
	doc, err := g.doc()
	if err != nil {
		return nil, err
	}
	key, err := readNodeKey(cfg.Home)
	if err != nil {
		return nil, err
	}
	validator, err := openValidator(cfg.Home)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Home, blocksDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for blocks: %w", err)
	}
	y = &Yardstick{
		app:       &kvApplication{Application: kvstore.NewPersistentApplication(filepath.Join(cfg.Home, stateDir)), waiting: map[types.TxKey]chan struct{}{}},
		databases: new(databases),
	}
	comet := cfg.comet()
	if y.comet, err = cmtnode.NewNode(comet, validator, key, proxy.NewConnSyncLocalClientCreator(y.app),
		func() (*types.GenesisDoc, error) { return doc, nil }, y.databases.provide,
		cmtnode.DefaultMetricsProvider(comet.Instrumentation), cometLogger{log: cfg.Logger}); err != nil {
		return nil, errors.Join(fmt.Errorf("open the yardstick: %w", err), y.databases.closeAll())
	}
	if err := y.comet.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the yardstick: %w", err), y.databases.closeAll())
	}
	return y, nil
}

// Submit puts a transaction of the form key=value into the mempool and waits until a
// block with it is committed. It may be called from several goroutines.
func (y *Yardstick) Submit(ctx context.Context, tx []byte) error {
	key, done := types.Tx(tx).Key(), make(chan struct{})
	y.app.mu.Lock()
	y.app.waiting[key] = done
	y.app.mu.Unlock()
	if err := y.comet.Mempool().CheckTx(tx, nil, mempool.TxInfo{}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends it.
func (y *Yardstick) Stop() error {
	var errs []error
	if sw := y.comet.Switch(); sw.IsRunning() {
		errs = append(errs, sw.Stop())
	}
	errs = append(errs, y.comet.Stop())
	y.comet.Wait()
	time.Sleep(quietTime)
	return errors.Join(append(errs, y.comet.ProxyApp().Stop(), y.app.Close(), y.databases.closeAll())...)
}
