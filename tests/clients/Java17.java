import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.Security;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.TreeSet;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** SunPKCS11 with our module: key store, signatures, decryption, AES, and a TLS server. Arguments: its configuration. */
public class Java17 {
    static final byte[] TEXT = "a text of some length, to be kept secret".getBytes();

    static Provider provider;
    static KeyStore store;

    static void check(boolean right, String what) {
        if (!right) {
            throw new AssertionError(what);
        }
        System.out.println("ok: " + what);
    }

    static boolean signs(String algorithm, String alias, PSSParameterSpec parameters) throws Exception {
        Signature ours = Signature.getInstance(algorithm, provider), theirs = Signature.getInstance(algorithm);
        ours.initSign((PrivateKey) store.getKey(alias, null));
        theirs.initVerify(store.getCertificate(alias).getPublicKey());
        if (parameters != null) {
            ours.setParameter(parameters);
            theirs.setParameter(parameters);
        }
        for (int i = 0; i < 3; i++) {
            ours.update(TEXT, 0, 10);
            ours.update(TEXT, 10, TEXT.length - 10);
        }
        for (int i = 0; i < 3; i++) {
            theirs.update(TEXT);
        }
        return theirs.verify(ours.sign());
    }

    static boolean decrypts(String transformation) throws Exception {
        Cipher theirs = Cipher.getInstance(transformation, "SunJCE"), ours = Cipher.getInstance(transformation, provider);
        theirs.init(Cipher.ENCRYPT_MODE, store.getCertificate("rsa").getPublicKey());
        ours.init(Cipher.DECRYPT_MODE, store.getKey("rsa", null));
        return Arrays.equals(ours.doFinal(theirs.doFinal(TEXT)), TEXT);
    }

    static byte[] aes(String transformation, int mode, java.security.spec.AlgorithmParameterSpec parameters, byte[] data) throws Exception {
        Cipher cipher = Cipher.getInstance(transformation, provider);
        cipher.init(mode, (SecretKey) store.getKey("aes", null), parameters);
        if (parameters instanceof GCMParameterSpec) {
            cipher.updateAAD("header".getBytes());
        }
        return cipher.doFinal(data);
    }

    static void checkAes() throws Exception {
        byte[] iv = new byte[16], nonce = new byte[12], large = new byte[100_000];
        new SecureRandom().nextBytes(large);
        for (byte[] data : new byte[][] { TEXT, large, new byte[0] }) {
            IvParameterSpec cbc = new IvParameterSpec(iv);
            GCMParameterSpec gcm = new GCMParameterSpec(128, Arrays.copyOf(nonce, 12));
            byte[] sealed = aes("AES/CBC/PKCS5Padding", Cipher.ENCRYPT_MODE, cbc, data);
            check(Arrays.equals(aes("AES/CBC/PKCS5Padding", Cipher.DECRYPT_MODE, cbc, sealed), data), "AES-CBC of " + data.length + " bytes");
            sealed = aes("AES/CTR/NoPadding", Cipher.ENCRYPT_MODE, cbc, data);
            check(Arrays.equals(aes("AES/CTR/NoPadding", Cipher.DECRYPT_MODE, cbc, sealed), data), "AES-CTR of " + data.length + " bytes");
            nonce[0]++;
            gcm = new GCMParameterSpec(128, Arrays.copyOf(nonce, 12));
            sealed = aes("AES/GCM/NoPadding", Cipher.ENCRYPT_MODE, gcm, data);
            check(Arrays.equals(aes("AES/GCM/NoPadding", Cipher.DECRYPT_MODE, gcm, sealed), data), "AES-GCM of " + data.length + " bytes");
            sealed[0] ^= 1;
            try {
                aes("AES/GCM/NoPadding", Cipher.DECRYPT_MODE, gcm, sealed);
                throw new AssertionError("a changed ciphertext decrypts");
            } catch (AEADBadTagException expected) {
                check(true, "AES-GCM refuses what was changed");
            }
        }
    }

    static void checkGivenKeys() throws Exception {
        byte[] value = new byte[32], iv = new byte[16];
        new SecureRandom().nextBytes(value);
        Cipher ours = Cipher.getInstance("AES/CBC/PKCS5Padding", provider), theirs = Cipher.getInstance("AES/CBC/PKCS5Padding", "SunJCE");
        ours.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(value, "AES"), new IvParameterSpec(iv));
        theirs.init(Cipher.DECRYPT_MODE, new SecretKeySpec(value, "AES"), new IvParameterSpec(iv));
        check(Arrays.equals(theirs.doFinal(ours.doFinal(TEXT)), TEXT), "AES with a key that the application brought");
        Mac mac = Mac.getInstance("HmacSHA256", provider), same = Mac.getInstance("HmacSHA256", "SunJCE");
        mac.init(new SecretKeySpec(value, "HmacSHA256"));
        same.init(new SecretKeySpec(value, "HmacSHA256"));
        check(Arrays.equals(mac.doFinal(TEXT), same.doFinal(TEXT)), "HMAC with a key that the application brought");
    }

    /** Pairs that no key store has: they live as long as the session. */
    static void checkSessionPairs() throws Exception {
        KeyPairGenerator ec = KeyPairGenerator.getInstance("EC", provider), rsa = KeyPairGenerator.getInstance("RSA", provider);
        ec.initialize(new ECGenParameterSpec("secp256r1"));
        rsa.initialize(2048);
        for (KeyPairGenerator generator : new KeyPairGenerator[] { ec, rsa }) {
            KeyPair pair = generator.generateKeyPair();
            String algorithm = "SHA256with" + (generator == ec ? "ECDSA" : "RSA");
            Signature ours = Signature.getInstance(algorithm, provider), theirs = Signature.getInstance(algorithm, generator == ec ? "SunEC" : "SunRsaSign");
            ours.initSign(pair.getPrivate());
            ours.update(TEXT);
            theirs.initVerify(KeyFactory.getInstance(generator == ec ? "EC" : "RSA", generator == ec ? "SunEC" : "SunRsaSign")
                .generatePublic(new X509EncodedKeySpec(pair.getPublic().getEncoded())));
            theirs.update(TEXT);
            check(theirs.verify(ours.sign()), algorithm + " with a pair of the session");
        }
        KeyPair own = ec.generateKeyPair();
        KeyPairGenerator other = KeyPairGenerator.getInstance("EC", "SunEC");
        other.initialize(new ECGenParameterSpec("secp256r1"));
        KeyAgreement agreement = KeyAgreement.getInstance("ECDH", provider);
        agreement.init(own.getPrivate());
        agreement.doPhase(other.generateKeyPair().getPublic(), true);
        check(agreement.generateSecret("TlsPremasterSecret") != null, "ECDH with a pair of the session; the secret stays in the region");
    }

    static void serveOne(SSLServerSocket listener) {
        try (SSLSocket socket = (SSLSocket) listener.accept(); OutputStream out = socket.getOutputStream()) {
            out.write(TEXT);
        } catch (Exception e) {
            e.printStackTrace();
        }
    }

    static void checkTls() throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("rsa", store.getCertificate("rsa"));
        trusted.setCertificateEntry("ec", store.getCertificate("ec"));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, null);
        SSLContext server = SSLContext.getInstance("TLSv1.3");
        server.init(keys.getKeyManagers(), null, null);

        try (SSLServerSocket listener = (SSLServerSocket) server.getServerSocketFactory().createServerSocket(0)) {
            for (int i = 0; i < 5; i++) {
                Thread thread = new Thread(() -> serveOne(listener));
                thread.start();
                SSLContext client = SSLContext.getInstance("TLSv1.3"); // a new one, so that no session is resumed
                client.init(null, trust.getTrustManagers(), null);
                try (SSLSocket socket = (SSLSocket) client.getSocketFactory().createSocket("localhost", listener.getLocalPort());
                        InputStream in = socket.getInputStream()) {
                    check(Arrays.equals(in.readAllBytes(), TEXT), "TLS: " + socket.getSession().getProtocol() + " " + socket.getSession().getCipherSuite());
                }
                thread.join();
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        provider = Security.getProvider("SunPKCS11").configure(arguments[0]);
        Security.addProvider(provider);
        store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, null);
        check(new TreeSet<>(java.util.Collections.list(store.aliases())).equals(new TreeSet<>(Arrays.asList("aes", "rsa", "ec"))), "the key store has the three keys");

        for (String algorithm : new String[] { "SHA1withRSA", "SHA256withRSA", "SHA384withRSA", "SHA512withRSA" }) {
            check(signs(algorithm, "rsa", null), algorithm);
        }
        check(signs("RSASSA-PSS", "rsa", new PSSParameterSpec("SHA-256", "MGF1", java.security.spec.MGF1ParameterSpec.SHA256, 32, 1)), "RSASSA-PSS");
        for (String algorithm : new String[] { "SHA1withECDSA", "SHA256withECDSA", "SHA384withECDSA", "SHA512withECDSA" }) {
            check(signs(algorithm, "ec", null), algorithm);
        }
        check(decrypts("RSA/ECB/PKCS1Padding"), "RSA decryption");
        checkAes();
        checkGivenKeys();
        checkSessionPairs();
        byte[] random = new byte[32], none = new byte[32];
        SecureRandom.getInstance("PKCS11", provider).nextBytes(random);
        check(!Arrays.equals(random, none), "random bytes");
        check(Arrays.equals(MessageDigest.getInstance("SHA-256", provider).digest(TEXT), MessageDigest.getInstance("SHA-256", "SUN").digest(TEXT)), "SHA-256");
        checkTls();
    }
}
