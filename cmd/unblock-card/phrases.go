package main

import "fmt"

// language is one that the program speaks to its user. The help is in English.
type language int

const (
	english language = iota
	swedish
	german
)

func parseLanguage(name string) (language, error) {
	switch name {
	case "en":
		return english, nil
	case "sv":
		return swedish, nil
	case "de":
		return german, nil
	}
	return english, fmt.Errorf("language %q: it speaks en, sv and de", name)
}

// phrase is what is said, in every language: a format with the same verbs.
type phrase struct{ en, sv, de string }

func (p phrase) in(l language) string {
	switch l {
	case swedish:
		return p.sv
	case german:
		return p.de
	case english:
	}
	return p.en
}

// What is said on the way.
var (
	sayCard = phrase{"Card:  %s, in %s", "Kort:  %s, i %s", "Karte: %s, in %s"}
	sayPIN  = phrase{"PIN:   %s", "PIN:   %s", "PIN:   %s"}

	sayPINBlocked = phrase{"blocked", "spärrad", "gesperrt"}
	sayPINUnknown = phrase{"not known; the card does not tell", "okänd; kortet säger det inte", "unbekannt; die Karte sagt es nicht"}
	sayPINLeft    = phrase{"not blocked, tries left: %d", "inte spärrad, försök kvar: %d", "nicht gesperrt, verbleibende Versuche: %d"}
	sayPINLeftOf  = phrase{"not blocked, tries left: %d of %d", "inte spärrad, försök kvar: %d av %d", "nicht gesperrt, verbleibende Versuche: %d von %d"}

	sayChallenge = phrase{
		"\nCall the help desk and read them this challenge:\n\n    %s\n\n    %s\n\nLeave the card in the reader, and do not close this window: the challenge would end.\n",
		"\nRing helpdesk och läs upp den här utmaningen:\n\n    %s\n\n    %s\n\nLåt kortet sitta kvar i läsaren och stäng inte fönstret: då upphör utmaningen att gälla.\n",
		"\nRufen Sie den Helpdesk an und lesen Sie diese Anforderung vor:\n\n    %s\n\n    %s\n\nLassen Sie die Karte im Leser und dieses Fenster offen: sonst verfällt die Anforderung.\n",
	}
	sayReadBack = phrase{
		"\nRead it back:\n\n    %s\n\n    %s\n",
		"\nLäs tillbaka:\n\n    %s\n\n    %s\n",
		"\nLesen Sie zurück:\n\n    %s\n\n    %s\n",
	}
	sayMistyped    = phrase{"That cannot be the response: %s.", "Det kan inte vara svaret: %s.", "Das kann nicht die Antwort sein: %s."}
	sayIsChallenge = phrase{"it is the challenge", "det är utmaningen", "es ist die Anforderung"}
	sayAmbiguous   = phrase{"character %d may be one of several digits", "tecken %d kan vara flera siffror", "Zeichen %d kann mehrere Ziffern bedeuten"}
	sayNotDigit    = phrase{"character %d is neither 0 to 9 nor A to F", "tecken %d är varken 0 till 9 eller A till F", "Zeichen %d ist weder 0 bis 9 noch A bis F"}
	sayLength      = phrase{"it has %d digits, and it must have %d", "den har %d siffror och måste ha %d", "sie hat %d Ziffern und muss %d haben"}

	sayAgain = phrase{
		"\nThe challenge is used up. Here is another; the new PIN that you chose is remembered.",
		"\nUtmaningen är förbrukad. Här är en ny; din nya PIN är ihågkommen.",
		"\nDie Anforderung ist verbraucht. Hier ist eine neue; Ihre neue PIN ist gemerkt.",
	}
	sayPIV = phrase{
		"\nThis is a PIV card. Its PIN is unblocked by its PUK, not by a response from the help desk.",
		"\nDet här är ett PIV-kort. Dess PIN låses upp med kortets PUK, inte med ett svar från helpdesk.",
		"\nDies ist eine PIV-Karte. Ihre PIN wird mit der PUK entsperrt, nicht mit einer Antwort des Helpdesks.",
	}
	sayPUKWrong   = phrase{"The PUK was wrong.", "Fel PUK.", "Die PUK war falsch."}
	sayPINsDiffer = phrase{"The two differ. Choose the new PIN once more.", "De två är olika. Välj ny PIN en gång till.", "Die beiden sind verschieden. Wählen Sie die neue PIN noch einmal."}
	sayDone       = phrase{
		"\nThe new PIN is set, and the card has verified it. Tell the help desk that it worked.",
		"\nDen nya PIN-koden är satt och kortet har kontrollerat den. Säg till helpdesk att det gick bra.",
		"\nDie neue PIN ist gesetzt, und die Karte hat sie geprüft. Sagen Sie dem Helpdesk, dass es geklappt hat.",
	}
)

// What is asked for.
var (
	askResponse = phrase{"Response:", "Svar:", "Antwort:"}
	askConfirm  = phrase{"Is it what the help desk said? [Y/n]", "Är det vad helpdesk sade? [J/n]", "Ist es, was der Helpdesk sagte? [J/n]"}
	askPIN      = phrase{"New PIN (not shown):", "Ny PIN (visas inte):", "Neue PIN (unsichtbar):"}
	askPINAgain = phrase{"The same again:", "Samma igen:", "Noch einmal dieselbe:"}
	askPUK      = phrase{"PUK (not shown):", "PUK (visas inte):", "PUK (unsichtbar):"}
)

// What is wrong with a new PIN.
var (
	sayPINShort      = phrase{"The new PIN must have at least %d characters.", "Ny PIN måste ha minst %d tecken.", "Die neue PIN muss mindestens %d Zeichen haben."}
	sayPINLong       = phrase{"The new PIN may have at most %d characters.", "Ny PIN får ha högst %d tecken.", "Die neue PIN darf höchstens %d Zeichen haben."}
	sayPINDigits     = phrase{"The PIN of this card is of digits alone.", "Det här kortets PIN har bara siffror.", "Die PIN dieser Karte besteht nur aus Ziffern."}
	sayPINCharacters = phrase{"The new PIN may only have letters A to Z, digits and signs, without accents or spaces.", "Ny PIN får bara ha bokstäver A till Z, siffror och tecken, utan accenter och mellanslag.", "Die neue PIN darf nur Buchstaben A bis Z, Ziffern und Zeichen haben, ohne Umlaute und Leerzeichen."}
	sayPINRepeats    = phrase{"A new PIN that repeats itself is too easy to guess.", "En PIN som upprepar sig är för lätt att gissa.", "Eine PIN, die sich wiederholt, ist zu leicht zu erraten."}
	sayPINCounts     = phrase{"A new PIN that counts up or down is too easy to guess.", "En PIN som räknar upp eller ned är för lätt att gissa.", "Eine PIN, die auf- oder abwärts zählt, ist zu leicht zu erraten."}
	sayPINFew        = phrase{"A new PIN needs at least three different characters.", "En PIN behöver minst tre olika tecken.", "Eine PIN braucht mindestens drei verschiedene Zeichen."}
	sayPINRefused    = phrase{"The card does not take this as a PIN. Its own rules may want another length, or digits alone.", "Kortet godtar inte detta som PIN. Dess egna regler kan kräva annan längd eller bara siffror.", "Die Karte nimmt dies nicht als PIN. Ihre eigenen Regeln verlangen vielleicht eine andere Länge oder nur Ziffern."}
	advisePIN        = phrase{"Start again, with a new challenge and another PIN.", "Börja om, med ny utmaning och annan PIN.", "Beginnen Sie von vorn, mit neuer Anforderung und anderer PIN."}
)

// What went wrong, and what to do.
var (
	sayInterrupted = phrase{"Interrupted. The card is as it was.", "Avbrutet. Kortet är som det var.", "Abgebrochen. Die Karte ist, wie sie war."}
	sayTimeout     = phrase{"Waited too long. The card is as it was.", "Väntade för länge. Kortet är som det var.", "Zu lange gewartet. Die Karte ist, wie sie war."}
	sayInputEnded  = phrase{"The input ended before all was typed. The card is as it was.", "Indata tog slut innan allt var skrivet. Kortet är som det var.", "Die Eingabe endete, bevor alles getippt war. Die Karte ist, wie sie war."}

	sayNoService         = phrase{"The smart card service does not run.", "Smartkortstjänsten är inte igång.", "Der Smartcard-Dienst läuft nicht."}
	adviseServiceLinux   = phrase{"Have pcscd installed and started: apt install pcscd, then systemctl start pcscd.socket.", "Installera och starta pcscd: apt install pcscd, sedan systemctl start pcscd.socket.", "Installieren und starten Sie pcscd: apt install pcscd, dann systemctl start pcscd.socket."}
	adviseServiceWindows = phrase{"Start the service \"Smart Card\" (SCardSvr); it starts by itself when a reader is plugged in.", "Starta tjänsten \"Smartkort\" (SCardSvr); den startar själv när en läsare ansluts.", "Starten Sie den Dienst \"Smartcard\" (SCardSvr); er startet selbst, wenn ein Leser angeschlossen wird."}
	adviseServiceMac     = phrase{"Plug the reader in, or restart the Mac.", "Anslut läsaren eller starta om datorn.", "Schließen Sie den Leser an, oder starten Sie den Mac neu."}

	sayNoReader  = phrase{"There is no such smart card reader.", "Det finns ingen sådan kortläsare.", "Es ist kein solcher Kartenleser da."}
	adviseReader = phrase{"Plug it in. unblock-card status lists those that are there.", "Anslut den. unblock-card status visar dem som finns.", "Schließen Sie ihn an. unblock-card status zeigt, welche da sind."}

	sayNotAllowed = phrase{"The system does not let you use the reader.", "Systemet låter dig inte använda läsaren.", "Das System lässt Sie den Leser nicht benutzen."}
	adviseAllowed = phrase{"Run it at the computer itself, not over a remote session, or ask the administrator (polkit: org.debian.pcsc-lite).", "Kör det vid själva datorn, inte på distans, eller fråga administratören (polkit: org.debian.pcsc-lite).", "Starten Sie es am Rechner selbst, nicht aus der Ferne, oder fragen Sie den Administrator (polkit: org.debian.pcsc-lite)."}

	sayBusy    = phrase{"Another program holds the card reader.", "Ett annat program håller kortläsaren.", "Ein anderes Programm hält den Kartenleser."}
	adviseBusy = phrase{"Close what uses the card (browser, mail, VPN, gpg-agent), then try again.", "Stäng det som använder kortet (webbläsare, e-post, VPN, gpg-agent) och försök igen.", "Schließen Sie, was die Karte benutzt (Browser, Mail, VPN, gpg-agent), und versuchen Sie es noch einmal."}

	sayRemoved    = phrase{"The card was taken out before it was done. Its PIN is as it was.", "Kortet togs ut innan det var klart. PIN är som den var.", "Die Karte wurde herausgenommen, bevor alles fertig war. Ihre PIN ist, wie sie war."}
	sayReset      = phrase{"Another program reset the card before it was done. Its PIN is as it was.", "Ett annat program återställde kortet innan det var klart. PIN är som den var.", "Ein anderes Programm hat die Karte zurückgesetzt, bevor alles fertig war. Ihre PIN ist, wie sie war."}
	sayVoid       = phrase{"The challenge has ended. The PIN is as it was.", "Utmaningen har upphört att gälla. PIN är som den var.", "Die Anforderung ist verfallen. Die PIN ist, wie sie war."}
	adviseRemoved = phrase{"Start again. There will be a new challenge; a response to the old one is of no use.", "Börja om. Du får en ny utmaning; ett svar på den gamla går inte att använda.", "Beginnen Sie von vorn. Es gibt eine neue Anforderung; eine Antwort auf die alte nützt nichts."}

	sayNoCard  = phrase{"There is no card in the reader.", "Det sitter inget kort i läsaren.", "Es ist keine Karte im Leser."}
	adviseCard = phrase{"Put your card in.", "Sätt i kortet.", "Stecken Sie Ihre Karte ein."}

	sayMute    = phrase{"The card does not answer.", "Kortet svarar inte.", "Die Karte antwortet nicht."}
	adviseMute = phrase{"Put it in the right way round, chip first, and all the way.", "Sätt i det åt rätt håll, chipet först, och ända in.", "Stecken Sie sie richtig herum ein, den Chip voran, und ganz hinein."}

	sayUnknown    = phrase{"This card is not known here: it is neither GIDS nor PIV.", "Kortet är okänt här: det är varken GIDS eller PIV.", "Diese Karte ist hier nicht bekannt: sie ist weder GIDS noch PIV."}
	adviseUnknown = phrase{"Unblock it with its maker's software, or on a Windows logon screen (docs/unblock-card.md).", "Lås upp det med tillverkarens program eller på Windows inloggningsskärm (docs/unblock-card.md).", "Entsperren Sie sie mit der Software des Herstellers oder auf dem Windows-Anmeldebildschirm (docs/unblock-card.md)."}

	saySeveral    = phrase{"There is more than one card.", "Det finns mer än ett kort.", "Es ist mehr als eine Karte da."}
	adviseSeveral = phrase{"Leave only the right one in, or name its --reader; unblock-card status lists them.", "Låt bara rätt kort sitta i, eller ange dess --reader; unblock-card status visar dem.", "Lassen Sie nur die richtige stecken, oder nennen Sie ihren --reader; unblock-card status zeigt sie."}

	sayNotBlocked   = phrase{"The PIN is not blocked, so there is nothing to unblock. Nothing was changed.", "PIN är inte spärrad, så det finns inget att låsa upp. Inget ändrades.", "Die PIN ist nicht gesperrt, also gibt es nichts zu entsperren. Nichts wurde geändert."}
	adviseForgotten = phrase{"If you have forgotten it: unblock-card --forgotten", "Om du har glömt den: unblock-card --forgotten", "Wenn Sie sie vergessen haben: unblock-card --forgotten"}

	sayRefused     = phrase{"The card refuses the response. The PIN is as it was.", "Kortet godtar inte svaret. PIN är som den var.", "Die Karte weist die Antwort zurück. Die PIN ist, wie sie war."}
	adviseRefused  = phrase{"Have the help desk see that the card's number and the challenge were right, then start again.", "Låt helpdesk kontrollera kortets nummer och utmaningen, och börja sedan om.", "Lassen Sie den Helpdesk Kartennummer und Anforderung prüfen, und beginnen Sie von vorn."}
	sayCost        = phrase{"Wrong ones that the card still survives: %d. After that it is dead for good.", "Felaktiga som kortet ännu tål: %d. Därefter är det obrukbart för alltid.", "Falsche, die die Karte noch übersteht: %d. Danach ist sie für immer unbrauchbar."}
	sayCostUnknown = phrase{"The card does not say how many more it takes. Some kinds die after a few: be careful.", "Kortet säger inte hur många till det tål. Vissa sorter dör efter några få: var försiktig.", "Die Karte sagt nicht, wie viele sie noch übersteht. Manche Arten sterben nach wenigen: seien Sie vorsichtig."}

	sayDead    = phrase{"The card takes no more attempts, for good.", "Kortet tar inte emot fler försök, för alltid.", "Die Karte nimmt keine Versuche mehr an, für immer."}
	adviseDead = phrase{"It has to be replaced. Tell the help desk.", "Det måste bytas ut. Säg till helpdesk.", "Sie muss ersetzt werden. Sagen Sie es dem Helpdesk."}

	sayHalfway     = phrase{"The new PIN was sent, but the card was lost before it could verify it.", "Ny PIN skickades, men kortet försvann innan det kunde kontrollera den.", "Die neue PIN wurde gesendet, aber die Karte ging verloren, bevor sie sie prüfen konnte."}
	sayNotVerified = phrase{"The card took the new PIN but does not verify it.", "Kortet tog emot ny PIN men godkänner den inte vid kontroll.", "Die Karte nahm die neue PIN, bestätigt sie aber nicht."}
	adviseHalfway  = phrase{"See with unblock-card status whether it is still blocked, and try the new PIN once.", "Se med unblock-card status om den ännu är spärrad, och prova ny PIN en gång.", "Sehen Sie mit unblock-card status, ob sie noch gesperrt ist, und versuchen Sie die neue PIN einmal."}
)
