// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"context"
	"errors"
	"strings"

	"cityid"
)

// ErrorCode says in a few words what a code refuses for.
func ErrorCode(lang string, c cityid.ErrorCode) string {
	if r, ok := refusals[c]; ok {
		return r.why[in(lang).language]
	}
	return Text(c.String())
}

// Refusal says what was refused and why, and what to do next. Of what has no
// [cityid.ErrorCode] it knows that time ran out or that it was interrupted, and
// returns the text of everything else.
//
// The registry's own sentence names the particulars, in English; it is given
// in both languages, since it is what other people and the documents know.
func Refusal(lang string, err error) string {
	s := in(lang)
	if err == nil {
		return ""
	}
	var e *cityid.Error
	var code cityid.ErrorCode
	switch {
	case errors.As(err, &e):
		code = e.Code
	case errors.As(err, &code):
	case errors.Is(err, context.DeadlineExceeded):
		return s.words("timed-out")
	case errors.Is(err, context.Canceled):
		return s.words("interrupted")
	default:
		return Text(err.Error())
	}
	r, ok := refusals[code]
	if !ok {
		return Text(err.Error())
	}
	what := s.words("refused")
	if e != nil && e.Operation >= 0 {
		what = s.words("operation-refused", e.Operation)
	}
	detail := ""
	if e != nil && e.Message != "" {
		detail = s.words("detail", strings.TrimSuffix(e.Message, "."))
	}
	return s.words("refusal", plain(what), plain(r.why[s.language]), plain(detail), plain(r.next[s.language]))
}

func init() {
	for key, entry := range map[string][2]string{
		"refused":           {"Refused", "未被接受"},
		"operation-refused": {"Operation %d was refused", "操作 %d 未被接受"},
		"refusal":           {"%s: %s%s. %s", "%s：%s%s。%s"},
		"detail":            {" (%s)", "（原文：%s）"},
		"timed-out": {
			"No answer came in time. If you sent something, look whether it was recorded before you send it again.",
			"未在时限内得到答复。如果已经提交，请先查看是否已记录，再决定是否重新提交。",
		},
		"interrupted": {
			"It was interrupted. If you sent something, look whether it was recorded before you send it again.",
			"操作被中断。如果已经提交，请先查看是否已记录，再决定是否重新提交。",
		},
	} {
		dictionary[key] = entry
	}
}

// refusals say for each code why, and what to do next.
var refusals = map[cityid.ErrorCode]struct{ why, next [2]string }{
	cityid.OK:              {[2]string{"nothing is wrong", "没有问题"}, [2]string{"There is nothing to do.", "无需处理。"}},
	cityid.ErrMalformed:    {[2]string{"it can not be read as what it should be", "格式有误，无法读取"}, [2]string{"Make it anew with a current version, and send it unchanged.", "请用当前版本重新生成，并原样提交。"}},
	cityid.ErrWrongChain:   {[2]string{"it was made for another chain", "这是为另一条链制作的"}, [2]string{"Choose a node of the right network, or sign it anew for this one.", "请改用正确网络的节点，或为本网络重新签名。"}},
	cityid.ErrExpired:      {[2]string{"its time is over", "已超过有效期"}, [2]string{"Sign it anew; if that happens at once, set your clock.", "请重新签名；若刚签名就过期，请校准本机时钟。"}},
	cityid.ErrTooLarge:     {[2]string{"it is too large", "内容过大"}, [2]string{"Make it smaller, or spread it over several.", "请缩减内容，或分几次提交。"}},
	cityid.ErrSignature:    {[2]string{"a signature is missing or wrong", "缺少签名，或签名无效"}, [2]string{"Let each signer sign what is shown once more.", "请各签名者核对内容后重新签名。"}},
	cityid.ErrReplayed:     {[2]string{"it is recorded already", "已经记录过"}, [2]string{"There is no need to send it again: look at the record.", "无需重复提交，请查看记录。"}},
	cityid.ErrNotFound:     {[2]string{"it names something that does not exist", "所指的对象不存在"}, [2]string{"Check the code or number for a slip; the check characters help.", "请核对标识或编号，可借助校验字符。"}},
	cityid.ErrExists:       {[2]string{"it exists already", "已经存在"}, [2]string{"Look at what is there; for a code, choose another one.", "请查看现有内容；若是标识，请另选一个。"}},
	cityid.ErrNotPermitted: {[2]string{"those who signed may not decide this", "签名者无权决定此事"}, [2]string{"Ask the members of the policy that decides to sign, or put it before them as a proposal.", "请由有权决定的策略成员签名，或作为提案提交给他们。"}},
	cityid.ErrConflict:     {[2]string{"it was made for an older revision", "针对的是较旧的版本"}, [2]string{"Look at the record as it is now, and make the change anew.", "请查看当前版本，再重新修改。"}},
	cityid.ErrInvalid:      {[2]string{"a field breaks its rule", "有一项内容不合规定"}, [2]string{"Correct the field and send it again.", "请改正后重新提交。"}},
	cityid.ErrParent:       {[2]string{"the code it should stand below is missing, wrong or not active", "上级标识不存在、有误或未启用"}, [2]string{"Check the parent; it must be allocated and active first.", "请核对上级标识；上级须先分配并启用。"}},
	cityid.ErrRule:         {[2]string{"the distribution rule does not allow it", "不符合分配规则"}, [2]string{"Compare it with the rule, and correct it.", "请对照分配规则改正。"}},
	cityid.ErrQuota:        {[2]string{"a quota is used up", "已达到数量上限"}, [2]string{"Wait until open applications are decided, or ask the parent for a larger quota.", "请等待未决申请办结，或向上级申请提高上限。"}},
	cityid.ErrPolicy:       {[2]string{"the policy is not well made, or nobody could ever meet it", "策略有误，或永远无法满足"}, [2]string{"Correct the members, their keys and the threshold.", "请改正成员、密钥和门限。"}},
	cityid.ErrPossession:   {[2]string{"the proof that a key is held is missing or wrong", "缺少持有密钥的证明，或证明无效"}, [2]string{"Let each holder prove their key once more, for this very policy.", "请各密钥持有者针对这一策略重新证明。"}},
	cityid.ErrStatus:       {[2]string{"the status does not allow it", "当前状态不允许"}, [2]string{"Look at the status of the code and of those above it.", "请查看该标识及其上级的状态。"}},
	cityid.ErrDelay:        {[2]string{"a delay has not passed, or forbids it", "等待期未满，或等待期内不允许"}, [2]string{"Look when the waiting change takes effect, and come back then.", "请查看待生效变更的时间，届时再办理。"}},
	cityid.ErrStale:        {[2]string{"it has changed since you saw it", "在您查看之后内容已变更"}, [2]string{"Look at it again, and decide about what it says now.", "请重新查看，并就现在的内容作出决定。"}},
	cityid.ErrClosed:       {[2]string{"it is no longer open", "已经办结或关闭"}, [2]string{"Look at the outcome; if needed, begin anew.", "请查看结果；如有需要，请重新提出。"}},
	cityid.ErrCrosswalk:    {[2]string{"it breaks the rule of a crosswalk scheme", "不符合对照体系的规则"}, [2]string{"Check the scheme and the value.", "请核对对照体系及其取值。"}},
	cityid.ErrUnsupported:  {[2]string{"this version does not do that", "本版本不支持"}, [2]string{"Use a node with a newer version.", "请使用版本更新的节点。"}},
	cityid.ErrRetry:        {[2]string{"it can not be changed for a while", "暂时不能变更"}, [2]string{"Send it again in half a minute.", "请半分钟后重新提交。"}},
	cityid.ErrFull:         {[2]string{"too much waits at this node", "该节点排队过多"}, [2]string{"Send it again in a few seconds.", "请几秒后重新提交。"}},
	cityid.ErrUnavailable:  {[2]string{"the node can not answer now", "节点暂时无法答复"}, [2]string{"Try again in a moment, or ask another node.", "请稍后再试，或改用其他节点。"}},
	cityid.ErrDelegated:    {[2]string{"the code has a zone of its own", "该标识属于另一个分区"}, [2]string{"Ask and submit at a node of that zone.", "请向该区域的节点查询和提交。"}},
	cityid.ErrInternal:     {[2]string{"something went wrong inside the node", "节点内部出错"}, [2]string{"Tell the operator of the node; nothing was changed unless the record says so.", "请告知节点运维人员；除非记录已变，否则没有任何更改。"}},
}
