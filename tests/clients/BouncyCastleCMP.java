// A CMP client on Bouncy Castle: an encoder and decoder that is none of ours. Run by test_bouncycastle_cmp.py.
// Arguments: URL, reference, secret. One line for each message that was answered as it should be.

import java.io.InputStream;
import java.math.BigInteger;
import java.net.HttpURLConnection;
import java.net.URL;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.SecureRandom;
import java.security.spec.ECGenParameterSpec;
import java.util.Date;

import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERNull;
import org.bouncycastle.asn1.cmp.CertRepMessage;
import org.bouncycastle.asn1.cmp.CertResponse;
import org.bouncycastle.asn1.cmp.ErrorMsgContent;
import org.bouncycastle.asn1.cmp.GenMsgContent;
import org.bouncycastle.asn1.cmp.GenRepContent;
import org.bouncycastle.asn1.cmp.InfoTypeAndValue;
import org.bouncycastle.asn1.cmp.PBMParameter;
import org.bouncycastle.asn1.cmp.PKIBody;
import org.bouncycastle.asn1.cmp.RevDetails;
import org.bouncycastle.asn1.cmp.RevRepContent;
import org.bouncycastle.asn1.cmp.RevReqContent;
import org.bouncycastle.asn1.crmf.CertReqMessages;
import org.bouncycastle.asn1.crmf.CertTemplateBuilder;
import org.bouncycastle.asn1.iana.IANAObjectIdentifiers;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.CertificateConfirmationContentBuilder;
import org.bouncycastle.cert.cmp.GeneralPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessageBuilder;
import org.bouncycastle.cert.crmf.PKMACBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcaCertificateRequestMessageBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcePKMACValuesCalculator;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.MacCalculator;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.CRLReason;

public class BouncyCastleCMP {
    static final X500Name SUBJECT = new X500Name("CN=bouncy.certgate.test");
    static final SecureRandom RANDOM = new SecureRandom();
    static String url;
    static byte[] reference;
    static char[] secret;

    public static void main(String[] words) throws Exception {
        url = words[0];
        reference = words[1].getBytes("UTF-8");
        secret = words[2].toCharArray();
        KeyPair first = newKey();
        X509CertificateHolder certificate = enrol(PKIBody.TYPE_INIT_REQ, first, null, null);
        KeyPair second = newKey();
        X509CertificateHolder updated = enrol(PKIBody.TYPE_KEY_UPDATE_REQ, second, certificate, first);
        inform();
        revoke(updated, second);
    }

    static KeyPair newKey() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair();
    }

    /** A request with its confirmation, under the secret, or signed with the certificate that is to be updated. */
    static X509CertificateHolder enrol(int type, KeyPair key, X509CertificateHolder old, KeyPair oldKey)
            throws Exception {
        JcaCertificateRequestMessageBuilder request = new JcaCertificateRequestMessageBuilder(BigInteger.ZERO);
        request.setSubject(SUBJECT);
        request.setPublicKey(key.getPublic());
        GeneralNames names = new GeneralNames(new GeneralName(GeneralName.dNSName, "bouncy.certgate.test"));
        request.addExtension(Extension.subjectAlternativeName, false, names);
        request.setProofOfPossessionSigningKeySigner(signer(key));
        CertReqMessages messages = new CertReqMessages(request.build().toASN1Structure());
        byte[] transaction = random(16);
        ProtectedPKIMessage answer = send(new PKIBody(type, messages), transaction, null, old, oldKey);
        int expected = type == PKIBody.TYPE_INIT_REQ ? PKIBody.TYPE_INIT_REP : PKIBody.TYPE_KEY_UPDATE_REP;
        check(answer, expected);
        CertResponse response = CertRepMessage.getInstance(answer.getBody().getContent()).getResponse()[0];
        if (response.getStatus().getStatus().intValue() > 1) {
            throw new Exception("rejected: " + response.getStatus().getStatusString().getStringAtUTF8(0));
        }
        X509CertificateHolder issued = new X509CertificateHolder(
            response.getCertifiedKeyPair().getCertOrEncCert().getCertificate().getX509v3PKCert());
        CertificateConfirmationContentBuilder confirmation = new CertificateConfirmationContentBuilder();
        confirmation.addAcceptedCertificate(issued, BigInteger.ZERO);
        PKIBody body = new PKIBody(PKIBody.TYPE_CERT_CONFIRM,
            confirmation.build(new JcaDigestCalculatorProviderBuilder().build()).toASN1Structure());
        check(send(body, transaction, answer.getHeader().getSenderNonce().getOctets(), old, oldKey),
            PKIBody.TYPE_CONFIRM);
        System.out.println((type == PKIBody.TYPE_INIT_REQ ? "ir " : "kur ") + issued.getSerialNumber().toString(16));
        return issued;
    }

    static void inform() throws Exception {
        GenMsgContent asked = new GenMsgContent(
            new InfoTypeAndValue(new ASN1ObjectIdentifier("1.3.6.1.5.5.7.4.17")));
        ProtectedPKIMessage answer = send(new PKIBody(PKIBody.TYPE_GEN_MSG, asked), random(16), null, null, null);
        check(answer, PKIBody.TYPE_GEN_REP);
        InfoTypeAndValue[] told = GenRepContent.getInstance(answer.getBody().getContent()).toInfoTypeAndValueArray();
        System.out.println("genm " + told[0].getInfoType().getId());
    }

    static void revoke(X509CertificateHolder certificate, KeyPair key) throws Exception {
        CertTemplateBuilder template = new CertTemplateBuilder();
        template.setIssuer(certificate.getIssuer());
        template.setSerialNumber(new org.bouncycastle.asn1.ASN1Integer(certificate.getSerialNumber()));
        ExtensionsGenerator details = new ExtensionsGenerator();
        details.addExtension(Extension.reasonCode, false, CRLReason.lookup(CRLReason.keyCompromise));
        RevDetails one = new RevDetails(template.build(), details.generate());
        PKIBody body = new PKIBody(PKIBody.TYPE_REVOCATION_REQ, new RevReqContent(one));
        ProtectedPKIMessage answer = send(body, random(16), null, certificate, key);
        check(answer, PKIBody.TYPE_REVOCATION_REP);
        RevRepContent content = RevRepContent.getInstance(answer.getBody().getContent());
        if (content.getStatus()[0].getStatus().intValue() != 0) {
            throw new Exception("not revoked");
        }
        System.out.println("rr " + certificate.getSerialNumber().toString(16));
    }

    static ProtectedPKIMessage send(
            PKIBody body, byte[] transaction, byte[] nonce, X509CertificateHolder certificate, KeyPair key)
            throws Exception {
        X500Name sender = certificate == null ? SUBJECT : certificate.getSubject();
        ProtectedPKIMessageBuilder message = new ProtectedPKIMessageBuilder(
            new GeneralName(sender), new GeneralName(new X500Name("CN=CMP")));
        message.setMessageTime(new Date()).setTransactionID(transaction).setSenderNonce(random(16)).setBody(body);
        if (nonce != null) {
            message.setRecipNonce(nonce);
        }
        ProtectedPKIMessage built;
        if (certificate == null) {
            built = message.setSenderKID(reference).build(mac());
        } else {
            byte[] identifier = SubjectKeyIdentifier.fromExtensions(certificate.getExtensions()).getKeyIdentifier();
            message.setSenderKID(identifier).addCMPCertificate(certificate);
            built = message.build(signer(key));
        }
        ProtectedPKIMessage answer = new ProtectedPKIMessage(
            new GeneralPKIMessage(post(built.toASN1Structure().getEncoded("DER"))));
        boolean good = certificate == null
            ? answer.verify(new PKMACBuilder(new JcePKMACValuesCalculator()), secret)
            : answer.verify(new JcaContentVerifierProviderBuilder().build(answer.getCertificates()[0]));
        if (!good) {
            throw new Exception("the protection of the answer is wrong");
        }
        return answer;
    }

    static MacCalculator mac() throws Exception {
        PKMACBuilder builder = new PKMACBuilder(new JcePKMACValuesCalculator());
        builder.setParameters(new PBMParameter(
            random(16),
            new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256),
            1024,
            new AlgorithmIdentifier(PKCSObjectIdentifiers.id_hmacWithSHA256, DERNull.INSTANCE)));
        return builder.build(secret);
    }

    static ContentSigner signer(KeyPair key) throws Exception {
        return new JcaContentSignerBuilder("SHA256withECDSA").build(key.getPrivate());
    }

    static void check(ProtectedPKIMessage answer, int expected) throws Exception {
        if (answer.getBody().getType() == PKIBody.TYPE_ERROR) {
            ErrorMsgContent error = ErrorMsgContent.getInstance(answer.getBody().getContent());
            throw new Exception("error: " + error.getPKIStatusInfo().getStatusString().getStringAtUTF8(0));
        }
        if (answer.getBody().getType() != expected) {
            throw new Exception("body " + answer.getBody().getType() + " instead of " + expected);
        }
    }

    static byte[] random(int size) {
        byte[] octets = new byte[size];
        RANDOM.nextBytes(octets);
        return octets;
    }

    static byte[] post(byte[] body) throws Exception {
        HttpURLConnection call = (HttpURLConnection) new URL(url).openConnection();
        call.setRequestProperty("Content-Type", "application/pkixcmp");
        call.setDoOutput(true);
        call.getOutputStream().write(body);
        try (InputStream answer = call.getInputStream()) {
            return answer.readAllBytes();
        }
    }
}
