<?php
// RedisTagAwareAdapter keeps sets, and refuses a server that may evict them: it needs Redis, with a policy that does not.
require __DIR__ . '/checks.php';
require 'Symfony/Component/Cache/autoload.php';

use Symfony\Component\Cache\Adapter\RedisTagAwareAdapter;

$redis = new Redis();
$redis->connect($argv[1]);
$pool = new RedisTagAwareAdapter($redis, 'tags', 0);
$log = new class extends Psr\Log\AbstractLogger {
    public $text = '';

    public function log($level, $message, array $context = []): void
    {
        $this->text .= $message . (isset($context['exception']) ? $context['exception']->getMessage() : '');
    }
};
$pool->setLogger($log);

check('tags', function () use ($pool, $log) {
    $item = $pool->getItem('k')->set('v');
    if (!$pool->save($item->tag(['one', 'two']))) {
        throw new \LogicException($log->text);
    }
    same('v', $pool->getItem('k')->get());
    same(true, $pool->invalidateTags(['one']));
    // With Redis behind another's delete is heard of a moment later.
    for ($tries = 0; $tries < 100 && $pool->getItem('k')->isHit(); $tries++) {
        usleep(10000);
    }
    same(false, $pool->getItem('k')->isHit());
});
