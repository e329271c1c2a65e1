// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrowserApply applies for a city with two officers, who hold passkeys of two
// institutions: the applicant writes at A, the second officer makes a passkey and
// proves it at B.
func TestBrowserApply(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel() // each has a demo and a browser of its own, which wait more than they work
	chromium(t)
	axe := axeFile(t)
	d := startDemo(t)
	b := startBrowser(t)
	a, two := b.tab("applicant at A"), b.tab("officer at B")
	folder := t.TempDir()

	a.open(d.at("localhost") + "/en/apply")
	a.look("apply-en", axe)
	a.follow("Try it with Xiong'an New Area")
	a.has("Note your resume code")
	a.look("apply-resume-en", axe)
	a.follow("I have noted it")
	a.has("0 of 6 tasks")
	a.follow("The city")
	a.fill("#contact-name", "王晓")
	a.fill("#contact-email", "wang@xiongan.example")
	a.look("apply-identity-en", axe)
	a.follow("Save and continue")
	a.has("Free to apply for")
	a.look("apply-code-en", axe)
	a.follow("Use this code")

	two.open(d.at("b.localhost") + "/en/prove")
	two.look("prove-en", axe)
	two.fill("#prove-name", "second officer")
	two.follow("Make a passkey")
	two.wait(`document.querySelector("#prove-key").value.startsWith("webauthn-p256:")`)
	second := eval[string](two, `document.querySelector("#prove-key").value`)

	a.follow("Officers and who signs")
	a.follow("Add an officer")
	a.fill("#name", "王晓")
	a.fill("#staff", "XA-001")
	a.look("apply-officer-en", axe)
	a.click(`button[data-into="key"]`)
	a.wait(`document.querySelector("#key").value.startsWith("webauthn-p256:")`)
	a.follow("Save and continue")
	a.has("A single officer")
	a.follow("Add an officer")
	a.fill("#name", "李明")
	a.fill("#key", second)
	a.follow("Save and continue")
	a.has("李明")
	a.look("apply-officers-en", axe)
	a.follow("Save and continue")

	letter := filepath.Join(folder, "letter.pdf")
	head := "%PDF-1.4\n% letter of authority\n"
	if err := os.WriteFile(letter, fmt.Appendf(nil, "%sxref\n0 1\n0000000000 65535 f \ntrailer\n<< >>\nstartxref\n%d\n%%%%EOF\n", head, len(head)), 0o600); err != nil {
		t.Fatal(err)
	}
	a.follow("Documents")
	a.upload("#file", letter)
	a.follow("Upload")
	a.has("letter.pdf")
	a.look("apply-evidence-en", axe)
	a.follow("Continue")

	a.follow("Prove the keys")
	a.look("apply-proofs-en", axe)
	a.click(`button[data-sign="passkey"]`)
	a.has("Proved")
	file := a.save(`fetch("/en/apply/draft/file")`, filepath.Join(folder, "cityid-MA.156.1331.json"))
	two.upload("#file", file)
	two.follow("Open")
	two.has("What is applied for")
	two.look("prove-file-en", axe)
	two.click(`button[data-prove="passkey"]`)
	two.has("All keys are proved")
	file = two.save(`fetch("/en/prove/file", { method: "POST", body: new URLSearchParams(new FormData(document.querySelector("form[action$='/prove/file']"))) })`, filepath.Join(folder, "proved.json"))
	a.upload("#file", file)
	a.follow("Upload")
	a.has("All keys are proved")
	a.follow("Continue")
	a.has("5 of 6 tasks")
	a.look("apply-tasks-en", axe)
	a.follow("Check and hand in")
	a.has("The exact words")
	a.look("apply-check-en", axe)
	a.click("#sure")
	a.follow("Hand in the application")
	a.has("Application received")
	a.has("on the chain")
	a.look("apply-receipt-en", axe)
	reference := eval[string](a, `document.querySelector("#reference").textContent`)
	a.follow("See how it stands")
	a.has("0 of 2 have approved")
	a.look("apply-status-en", axe)
	for _, s := range []string{"apply", "apply/status/" + reference, "apply/receipt/" + reference, "prove"} {
		a.open(d.at("localhost") + "/zh/" + s)
		a.look(strings.ReplaceAll(strings.TrimSuffix(s, "/"+reference), "/", "-")+"-zh", axe)
	}
	applyInChinese(d, b.tab("another applicant"), axe)
}

// applyInChinese looks at the Chinese pages of a draft, with test keys.
func applyInChinese(d *runningDemo, c *tab, axe string) {
	c.open(d.at("localhost") + "/zh/apply")
	c.follow("用雄安新区试一试")
	c.has("请记下续办码")
	c.look("apply-resume-zh", axe)
	c.follow("已记下")
	c.follow("城市信息")
	c.follow("保存并继续")
	c.has("请填写电话或电子邮箱")
	c.look("apply-identity-errors-zh", axe)
	c.fill("#contact-name", "王晓")
	c.fill("#contact-phone", "0312-5550000")
	c.follow("保存并继续")
	c.has("第 ") // the other application competes
	c.look("apply-code-zh", axe)
	c.follow("使用这个标识")
	c.has("申请任务")
	for i := 1; i <= 2; i++ {
		c.open(d.at("localhost") + "/zh/apply/draft/officers/new")
		c.fill("#name", fmt.Sprintf("经办人%d", i))
		c.fill("#key-test", fmt.Sprintf("applicant-%d", i))
		c.follow("保存并继续")
		c.has("几个人签名才有效")
	}
	c.look("apply-officers-zh", axe)
	c.follow("保存并继续")
	c.follow("证明持有密钥")
	for range 2 {
		c.click(`button[data-sign="test"]`)
		c.has("已证明")
	}
	c.has("所有密钥都已证明")
	c.look("apply-proofs-zh", axe)
	c.open(d.at("localhost") + "/zh/apply/draft")
	c.look("apply-tasks-zh", axe)
	c.follow("核对并提交")
	c.has("申请的确切内容")
	c.look("apply-check-zh", axe)
	c.open(d.at("localhost") + "/zh/apply/draft/evidence")
	c.look("apply-evidence-zh", axe)
}
