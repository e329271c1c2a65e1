// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"time"

	"cityid"
)

const verifyScript = `#!/bin/sh
# Checks every proof of this archive, without a network: sh verify.sh
# It takes the trust root from trust.json, or from the file given.
cd "$(dirname "$0")" || exit 1
trust=${1:-trust.json}
tab=$(printf '\t')
good=0
bad=0
while IFS="$tab" read -r file code at; do
	if cityid verify "$file" --trust "$trust" --kind history --code "$code" --at "$at" >/dev/null; then
		good=$((good + 1))
	else
		echo "not verified: $file" >&2
		bad=$((bad + 1))
	fi
done <proofs.tsv
echo "verified: $good, not verified: $bad"
[ "$bad" = 0 ]
`

// readme says what the archive is. The same facts stand in both languages.
func readme(e *exporter, status *cityid.NodeStatus) string {
	from, to := e.From.UTC().Format(time.RFC3339), e.To.UTC().Format(time.RFC3339)
	proofsZh, proofsEn := readmeProofsZh, readmeProofsEn
	if e.NoProofs {
		proofsZh, proofsEn = "导出时没有附带证明。\n", "The proofs were left out of this export.\n"
	}
	if n := e.sum.Unnamed; n > 0 {
		proofsZh += fmt.Sprintf("\n其中 %d 项变更所在的区块，导出所用的节点已不再保留交易内容（该节点保留高度 %d 起的区块），因此未列出交易编号；变更内容和证明不受影响。\n", n, status.BlocksFrom)
		proofsEn += fmt.Sprintf("\nFor %d of the changes no transactions are named: the node asked keeps blocks from height %d on. What changed, and the proofs, are complete all the same.\n", n, status.BlocksFrom)
	}
	return fmt.Sprintf(readmeText, e.Code, from, to, status.Chain, status.Height, e.sum.Changes, e.sum.Records, e.sum.Decisions, proofsZh,
		e.Code, from, to, status.Chain, status.Height, e.sum.Changes, e.sum.Records, e.sum.Decisions, proofsEn)
}

const readmeText = `标识变更审计材料

范围：%s 及其下级
时段：%s 起，至 %s 之前
账本：%s，导出时区块高度 %d
变更 %d 项，涉及记录 %d 条；已作出决定的提案 %d 件

changes.csv、changes.jsonl        时段内每一次变更，每行一个版本
proposals.csv、proposals.jsonl    时段内作出决定的提案
trust.json                        信任根：核验证明的依据
CSV 中可能被电子表格误当作公式或数字的内容，前面加了撇号或制表符。

%s

Changes of codes, for an audit

Of: %s and all below it
Period: from %s, before %s
Chain: %s, at height %d when exported
%d changes of %d records; %d proposals decided

changes.csv, changes.jsonl        every change in the period, a revision a line
proposals.csv, proposals.jsonl    proposals decided in the period
trust.json                        the trust root that the proofs are checked against
In the CSV files an apostrophe or a tab stands before what a spreadsheet would
take for a formula or a number.

%s`

const readmeProofsZh = `如何核验（不需要网络，也不需要相信导出者）：
1. 取得 cityid 程序。
2. 把 trust.json 的哈希（cityid trust show --trust trust.json）与机构公布的核对，
   或改用您自己保存的信任根。
3. 运行 sh verify.sh，或 sh verify.sh 您的信任根.json。它对 proofs.tsv 的每一行执行
   cityid verify 文件 --trust trust.json --kind history --code 标识 --at 时间
4. 每个证明列出该记录的全部版本；changes.jsonl 中的 hash 应与之一致。
   导出期间或之后的版本不在清单内，但可能出现在证明里。
证明说明清单中的每一项属实；清单是否完整，可另取
cityid bundle get 标识 --kind descendants 核对。
`

const readmeProofsEn = `How to check it, without a network and without believing whoever exported it:
1. Get the program cityid.
2. Compare the hash of trust.json (cityid trust show --trust trust.json) with the
   one the institutions publish, or use a trust root you have kept yourself.
3. Run sh verify.sh, or sh verify.sh YOUR-TRUST.json. For each line of proofs.tsv
   it runs
   cityid verify FILE --trust trust.json --kind history --code CODE --at TIME
4. Each proof lists all revisions of its record; the hash in changes.jsonl is
   among them. A proof may hold revisions made after the period, which the lists
   do not have.
The proofs show that what the lists say is true. Whether a list is complete,
cityid bundle get CODE --kind descendants shows.
`
